package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy/sql"
)

// Bounds of the catalog.
const (
	catalogRounds  = 3 // views of views
	catalogPerText = 24
	catalogSize    = 4096
	catalogTimeout = 10 * time.Second
	catalogLife    = 2 * time.Minute // others may change objects meanwhile
	absentLife     = 5 * time.Second
)

// catalogCache is what one upstream session has learnt about relations. It is
// per upstream session: what a name means depends on role and session.
//
// Learning asks Snowflake for metadata only: `describeOnly` of SELECT * (names
// of columns; compiled, never run) and SHOW VIEWS (the text of a view). It
// happens before the verdict, because the verdict needs it; nothing of it
// reaches the agent, and it happens only if the statement is not refused on
// what is known without it. What cannot be learnt stays unknown, and the
// policy does not permit the unknown unattended.
type catalogCache struct {
	mu        sync.Mutex
	relations map[sql.ObjectName]learnt
}

type learnt struct {
	relation sql.Relation
	known    bool // false: asked for, and not to be had
	absent   bool // Snowflake says there is none, or none for this role
	at       time.Time
}

// absent names a relation that a lone query or write reads and that does not
// exist: the statement can only fail. In a batch an earlier statement could
// create it.
func (c *catalogCache) absent(a *sql.Analysis) (string, bool) {
	if len(a.Statements) != 1 {
		return "", false
	}
	switch a.Statements[0].Category {
	case sql.CategoryQuery, sql.CategoryWrite:
	default:
		return "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range a.Missing {
		if e, ok := c.relations[name]; ok && e.absent {
			return name.String(), true
		}
	}
	return "", false
}

// errAbsent reports that Snowflake knows no such object.
var errAbsent = errors.New("no such object")

// Relation implements sql.Catalog.
func (c *catalogCache) Relation(name sql.ObjectName) (sql.Relation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.relations[name]
	if !ok || !e.known || time.Since(e.at) > catalogLife {
		return sql.Relation{}, false
	}
	return e.relation, true
}

func (c *catalogCache) asked(name sql.ObjectName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.relations[name]
	life := catalogLife
	if !e.known {
		life = absentLife // it may have been created, or granted
	}
	return ok && time.Since(e.at) <= life
}

func (c *catalogCache) put(name sql.ObjectName, e learnt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.relations == nil || len(c.relations) >= catalogSize {
		c.relations = map[sql.ObjectName]learnt{}
	}
	c.relations[name] = e
}

// clear forgets everything: names or columns may mean something else now.
func (c *catalogCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.relations = nil
}

// fetchMissing learns what the analysis lacked and reports whether analysing
// again can help.
func (b *Broker) fetchMissing(ctx context.Context, l *login, missing []sql.ObjectName) bool {
	var ask []sql.ObjectName
	any := false
	for _, name := range missing {
		if _, known := l.catalog.Relation(name); known {
			any = true // another statement has learnt it since the analysis
			continue
		}
		if name.Database != "" && name.Schema != "" && name.Name != "" && !l.catalog.asked(name) {
			ask = append(ask, name)
		}
	}
	if len(ask) == 0 || len(ask) > catalogPerText {
		return any && len(ask) == 0
	}
	ctx, cancel := context.WithTimeout(ctx, catalogTimeout)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(4)
	var mu sync.Mutex
	for _, name := range ask {
		g.Go(func() error {
			relation, err := b.learn(ctx, l, name)
			if err != nil {
				b.log.Debug("learning a relation failed", "err", err)
				if ctx.Err() != nil {
					return nil // ran out of time: not the relation's fault
				}
			}
			l.catalog.put(name, learnt{relation, err == nil, errors.Is(err, errAbsent), time.Now()})
			mu.Lock()
			any = any || err == nil
			mu.Unlock()
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	return any
}

// learn reads the columns of a relation, and its text if it is a view. A
// relation whose kind cannot be learnt is not known: a view taken for a table
// would hide where its columns come from.
func (b *Broker) learn(ctx context.Context, l *login, name sql.ObjectName) (sql.Relation, error) {
	_, columns, err := b.metadata(ctx, l, "SELECT * FROM "+name.String()+" LIMIT 0", true)
	if err != nil {
		return sql.Relation{}, fmt.Errorf("describing: %w", err)
	}
	relation := sql.Relation{Kind: sql.ObjectTable}
	for _, c := range columns {
		relation.Columns = append(relation.Columns, c.Name)
	}
	in := sql.ObjectName{Database: name.Database, Name: name.Schema}
	pattern := "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(name.Name) + "'"
	rows, shown, err := b.metadata(ctx, l, "SHOW VIEWS LIKE "+pattern+" IN SCHEMA "+in.String(), false)
	if err != nil {
		return sql.Relation{}, fmt.Errorf("asking whether it is a view: %w", err)
	}
	at := func(row []*string, column string) string {
		for i, c := range shown {
			if strings.EqualFold(c.Name, column) && i < len(row) && row[i] != nil {
				return *row[i]
			}
		}
		return ""
	}
	for _, row := range rows { // LIKE ignores case and knows wildcards
		if at(row, "name") == name.Name {
			relation.Kind = sql.ObjectView
			relation.ViewText = b.viewText(at(row, "text"), name)
		}
	}
	return relation, nil
}

// viewText is the SELECT of a CREATE VIEW statement; empty if it cannot be
// read, and the view is then opaque.
func (b *Broker) viewText(ddl string, name sql.ObjectName) string {
	if ddl == "" {
		return ""
	}
	a, err := b.analyze(ddl, sql.Context{Database: name.Database, Schema: name.Schema}, nil)
	if err != nil || len(a.Statements) != 1 || len(a.Statements[0].Nested) != 1 {
		return ""
	}
	body := a.Statements[0].Nested[0]
	if body.Category != sql.CategoryQuery || body.Pos < 0 || body.End > len(ddl) || body.Pos >= body.End {
		return ""
	}
	return ddl[body.Pos:body.End]
}

// metadata runs one statement of the broker's own and reads its small answer.
func (b *Broker) metadata(ctx context.Context, l *login, text string, describe bool) ([][]*string, []snowflake.Column, error) {
	q := snowflake.QueryRequest{SQL: text, DescribeOnly: describe, Sequence: l.nextSequence(),
		Parameters: snowflake.Object{{Key: multiStatementCount, Raw: []byte("1")}}}
	rep, err := b.call(ctx, l, upstreamCall{method: http.MethodPost, path: snowflake.PathQuery,
		requestID: uuid.NewString(), body: q.Append(nil)})
	if err != nil {
		return nil, nil, err
	}
	if rep, err = b.follow333(ctx, l, rep, func(string) {}); err != nil {
		return nil, nil, err
	}
	if rep.code == "002003" || rep.code == "002043" {
		return nil, nil, errAbsent
	}
	if !rep.success {
		return nil, nil, fmt.Errorf("%w: code %s", errUpstream, rep.code)
	}
	data := rep.data
	columns, err := snowflake.ParseRowType(data.Get("rowtype"))
	if err != nil || describe {
		return nil, columns, err
	}
	if data.Get("chunks") != nil && string(data.Get("chunks")) != "[]" {
		return nil, nil, fmt.Errorf("%w: a metadata answer in chunks", errUpstream)
	}
	if encoded, ok := data.Text("rowsetBase64"); ok {
		rows, err := snowflake.ArrowTexts(encoded)
		return rows, columns, err
	}
	rows, err := snowflake.JSONTexts(data.Get("rowset"))
	return rows, columns, err
}

func (l *login) nextSequence() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	return l.sequence
}

package broker

import (
	"context"

	"github.com/jit-access/jit/policy/sql"
)

// changesContext reports whether what later names mean depends on statements.
func changesContext(statements []sql.Statement) bool {
	for i := range statements {
		e := statements[i].Effects
		if e.UseDatabase != "" || e.UseSchema != "" || e.UseWarehouse != "" || e.UseRole != "" ||
			len(e.SetVariables) > 0 || e.CatalogChanged || len(statements[i].Unknown) > 0 {
			return true
		}
	}
	return false
}

// movesSession reports whether statements, should they still run after they were
// given up, would change what later names and variables of the session mean.
func movesSession(statements []sql.Statement) bool {
	for i := range statements {
		e := statements[i].Effects
		if e.UseDatabase != "" || e.UseSchema != "" || e.UseWarehouse != "" || e.UseRole != "" || len(e.SetVariables) > 0 || e.Anything {
			return true
		}
	}
	return len(settingsOf(statements)) > 0
}

// forgetCatalogs makes every login learn anew what relations are: one of them
// may have changed them for all.
func (b *Broker) forgetCatalogs() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range b.logins {
		l.catalog.clear()
	}
}

// moved takes over the context the server reports after a statement, or, if it
// reports none, what the statement says it did.
func (l *login) moved(rep *reply, by string, statements []sql.Statement) {
	changed := changesContext(statements)
	reported := false
	l.mu.Lock()
	p := l.place
	for i := range statements {
		e := statements[i].Effects
		p.warehouse = orElse(e.UseWarehouse, p.warehouse)
		p.role = orElse(e.UseRole, p.role)
		if e.UseDatabase != "" {
			p.database, p.schema = e.UseDatabase, "PUBLIC"
		}
		p.schema = orElse(e.UseSchema, p.schema)
	}
	for _, f := range [...]struct {
		key string
		to  *string
	}{{"finalDatabaseName", &p.database}, {"finalSchemaName", &p.schema}, {"finalWarehouseName", &p.warehouse}, {"finalRoleName", &p.role}} {
		if name, ok := rep.data.Text(f.key); ok {
			*f.to, reported = name, true
		}
	}
	if changed && !reported {
		p.stale = true // what the statement says it did may not be all
	}
	if p != l.place || changed || len(settingsOf(statements)) > 0 {
		p.version++
		l.place = p
		l.variables = l.variables.after(by, statements)
	}
	l.mu.Unlock()
	if changed {
		l.catalog.clear()
	}
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// doubt notes that statements failed, or got no answer, which may have changed
// the context before they did: a batch fails half-way with its USE in effect,
// and the next unqualified name would be judged as another than it is.
func (l *login) doubt(by string, statements []sql.Statement) {
	if !changesContext(statements) {
		return
	}
	l.mu.Lock()
	l.place.version++
	l.place.stale = true
	l.variables = variables{unseen: by}
	l.mu.Unlock()
	l.catalog.clear()
}

// settledPlace is the context names resolve in, asked for anew if it is in
// doubt. If it cannot be had, no name resolves without its database and schema.
func (b *Broker) settledPlace(ctx context.Context, l *login) place {
	p := l.presentPlace()
	if !p.stale {
		return p
	}
	c, cancel := context.WithTimeout(ctx, catalogTimeout)
	defer cancel()
	rows, _, err := b.metadata(c, l, "SELECT CURRENT_DATABASE(), CURRENT_SCHEMA(), CURRENT_WAREHOUSE(), CURRENT_ROLE()", false)
	if err == nil && (len(rows) != 1 || len(rows[0]) != 4) {
		err = errUpstream
	}
	fresh := place{version: p.version + 1, stale: err != nil, role: p.role, warehouse: p.warehouse}
	if err != nil {
		b.log.Warn("asking for the session's context failed", "err", err)
	} else {
		for i, to := range [...]*string{&fresh.database, &fresh.schema, &fresh.warehouse, &fresh.role} {
			if v := rows[0][i]; v != nil {
				*to = *v
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.place.version == p.version {
		l.place = fresh
	}
	return l.place
}

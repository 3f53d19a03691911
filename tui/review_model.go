package tui

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/session"
)

const (
	// steadyTime is how long a row must stand still under the cursor before it
	// can be decided: a key meant for the row before must not hit this one.
	steadyTime = time.Second
	reloadTime = 5 * time.Second // also without events: expiry, missed events
	rewatch    = 5 * time.Second
	flashTime  = 6 * time.Second
)

// commands is what the review screen asks of the outside.
type commands interface {
	load() tea.Msg
	watch() tea.Msg
	next(events <-chan session.Event) tea.Cmd
	decide(id string, c session.Choice) tea.Cmd
	revoke(sessionID, reason string) tea.Cmd
}

// review is the state of the review screen.
type review struct {
	viewer    session.Principal
	readOnly  bool
	canRevoke bool
	io        commands
	clock     func() time.Time
	style     style

	width, height int

	// The queue. The cursor follows a request, not a position.
	requests  []session.Request
	loaded    bool
	loading   bool // a load is under way
	stale     bool // and something happened since it began
	loadedAt  time.Time
	lost      error // why the queue is not fresh; nil when it is
	ended     bool  // access ended: nothing will change any more
	events    <-chan session.Event
	rewatchAt time.Time
	cursor    string // request id
	changedAt time.Time
	top       int // first row drawn
	openFirst string

	detail  bool // the request under the cursor is open
	scroll  int
	wrapped wrapped
	seen    int // lines of the open request that have been on the screen
	help    bool

	question *question // being asked
	outbox   []outgoing
	settled  string // the request whose decision was sent last

	flash      string
	flashUntil time.Time
}

func newReview(viewer session.Principal, clock func() time.Time) *review {
	return &review{viewer: viewer, clock: clock, style: newStyle(), width: 80, height: 24}
}

// Init implements tea.Model.
func (m *review) Init() tea.Cmd {
	m.loading = true
	return tea.Batch(m.io.load, m.io.watch, tick())
}

// Update implements tea.Model.
func (m *review) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		return m, nil
	case tea.KeyPressMsg:
		return m, m.onKey(msg)
	case tea.PasteMsg:
		if m.question != nil && !m.question.confirm {
			m.question.reason.edit(msg)
		}
		return m, nil
	case loadedMsg:
		return m, m.onLoaded(msg)
	case watchingMsg:
		return m, m.onWatching(msg)
	case eventMsg:
		return m, m.onEvent(msg)
	case decidedMsg:
		return m, m.onDecided(msg)
	case revokedMsg:
		return m, m.onRevoked(msg)
	case tickMsg:
		return m, tea.Batch(m.onTick(), tick())
	}
	return m, nil
}

func (m *review) say(format string, args ...any) {
	m.flash, m.flashUntil = fmt.Sprintf(format, args...), m.clock().Add(flashTime)
}

// reload asks for the queue, once at a time.
func (m *review) reload() tea.Cmd {
	if m.loading {
		m.stale = true
		return nil
	}
	m.loading, m.stale = true, false
	return m.io.load
}

func (m *review) onLoaded(msg loadedMsg) tea.Cmd {
	m.loading = false
	now := m.clock()
	m.loadedAt = now
	m.lost = msg.err
	if msg.err == nil {
		m.replace(msg.requests)
	} else if isEnd(msg.err) {
		m.ended = true
	}
	if m.stale {
		return m.reload()
	}
	return nil
}

// isEnd reports errors that trying again does not cure.
func isEnd(err error) bool {
	return errors.Is(err, session.ErrSignIn) || errors.Is(err, session.ErrForbidden)
}

// replace takes a fresh queue: oldest first, so that new rows come last and
// move nothing.
func (m *review) replace(requests []session.Request) {
	requests = slices.DeleteFunc(slices.Clone(requests), func(r session.Request) bool { return r.State != session.StatePending })
	slices.SortStableFunc(requests, func(a, b session.Request) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	before, had := m.current()
	at := m.index()
	m.requests = requests
	if !m.loaded {
		m.loaded = true
		if m.openFirst != "" {
			m.cursor = m.openFirst
			if _, ok := m.current(); ok {
				m.detail = true
			} else {
				m.say("Request %s does not wait for you.", oneLine(m.openFirst))
			}
		}
	}
	if m.index() < 0 && len(requests) > 0 {
		m.cursor = requests[min(max(at, 0), len(requests)-1)].ID // the next one takes its place
	}
	after, has := m.current()
	if !has || had && before.ID != after.ID {
		if m.detail && had && before.ID != m.settled {
			m.say("Request %s no longer waits.", oneLine(before.ID))
		}
		if had {
			m.detail, m.scroll, m.seen, m.question = false, 0, 0, nil
		}
	}
	if had && has && fingerprint(before) != fingerprint(after) {
		m.changedAt, m.seen = m.clock(), 0
		if m.question != nil {
			m.question = nil
			m.say("The request changed: look again.")
		}
	}
	m.recheckOutbox()
}

// fingerprint is what a reviewer judges: if it moves, they must look again.
func fingerprint(r session.Request) string {
	return fmt.Sprintf("%s %d %s %d %d %q", r.ID, r.State, r.Case.Digest(), len(r.Decisions), r.Approvals, []string{r.Reason, r.Rule,
		r.Scope.Connection, r.Scope.Role, r.Scope.Warehouse, r.Scope.Database, r.Scope.Schema, r.Scope.TTL.String()})
}

func (m *review) onWatching(msg watchingMsg) tea.Cmd {
	if msg.err != nil {
		m.lost = msg.err
		m.ended = m.ended || isEnd(msg.err)
		m.rewatchAt = m.clock().Add(rewatch)
		return nil
	}
	m.events, m.rewatchAt = msg.events, time.Time{}
	return m.io.next(m.events)
}

func (m *review) onEvent(msg eventMsg) tea.Cmd {
	if !msg.open { // the watch reconnects by itself; that it closed means access ended
		m.rewatchAt = m.clock().Add(rewatch)
		return m.reload()
	}
	return tea.Batch(m.reload(), m.io.next(m.events))
}

func (m *review) onTick() tea.Cmd {
	now := m.clock()
	if m.flash != "" && now.After(m.flashUntil) {
		m.flash = ""
	}
	cmds := m.sendDue(now)
	if !m.ended && !m.loading && now.Sub(m.loadedAt) >= reloadTime {
		cmds = append(cmds, m.reload())
	}
	if !m.ended && !m.rewatchAt.IsZero() && !now.Before(m.rewatchAt) {
		m.rewatchAt = time.Time{}
		cmds = append(cmds, m.io.watch)
	}
	return tea.Batch(cmds...)
}

func (m *review) index() int {
	return slices.IndexFunc(m.requests, func(r session.Request) bool { return r.ID == m.cursor })
}

func (m *review) current() (session.Request, bool) {
	if i := m.index(); i >= 0 {
		return m.requests[i], true
	}
	return session.Request{}, false
}

func (m *review) onKey(k tea.KeyPressMsg) tea.Cmd {
	if k.String() == "ctrl+c" {
		return tea.Quit // what is still in the outbox is not sent
	}
	switch {
	case m.question != nil:
		return m.onQuestionKey(k)
	case m.help:
		m.help = false
		return nil
	}
	switch k.String() {
	case "?":
		m.help = true
	case "u":
		m.undo()
	case "r":
		return m.reload()
	case "a":
		m.ask(actApprove)
	case "d":
		m.ask(actDeny)
	case "x":
		m.ask(actRevoke)
	case "q", "esc":
		if m.detail {
			m.detail, m.scroll = false, 0
			return nil
		}
		if k.String() == "esc" {
			return nil
		}
		if len(m.outbox) > 0 {
			m.say("Not sent yet: wait, press u to undo, or ctrl+c to leave without sending.")
			return nil
		}
		return tea.Quit
	case "enter", "right", "l":
		if _, ok := m.current(); ok && !m.detail {
			m.detail, m.scroll, m.seen = true, 0, 0
		}
	case "left", "h":
		m.detail, m.scroll = false, 0
	default:
		m.move(k.String())
	}
	return nil
}

// move scrolls the open request, or moves the cursor.
func (m *review) move(key string) {
	step, page := 0, max(m.bodyHeight()-1, 1)
	switch key {
	case "up", "k":
		step = -1
	case "down", "j":
		step = 1
	case "pgup", "ctrl+b":
		step = -page
	case "pgdown", "ctrl+f", "space":
		step = page
	case "home", "g":
		step = -1 << 20
	case "end", "G", "shift+g":
		step = 1 << 20
	case "n", "tab":
		m.open(1)
		return
	case "p", "shift+tab":
		m.open(-1)
		return
	default:
		return
	}
	if m.detail {
		m.seen = max(m.seen, m.scroll+m.bodyHeight())
		m.scroll = min(max(m.scroll+step, 0), m.maxScroll())
		return
	}
	m.moveCursor(step)
}

// open goes to the next request and keeps the detail open if it is.
func (m *review) open(step int) {
	if m.moveCursor(step) {
		m.scroll, m.seen = 0, 0
	}
}

func (m *review) moveCursor(step int) bool {
	if len(m.requests) == 0 {
		return false
	}
	to := m.requests[min(max(m.index()+step, 0), len(m.requests)-1)].ID
	moved := to != m.cursor
	m.cursor = to
	if moved {
		m.changedAt = time.Time{} // chosen by the reviewer, so it may be decided at once
	}
	return moved
}

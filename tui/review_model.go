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
	comment(id, text string) tea.Cmd
	shelf(t tab) tea.Cmd
	history(id string) tea.Cmd
}

// review is the state of the review screen.
type review struct {
	viewer    session.Principal
	readOnly  bool
	canRevoke bool
	bell      bool
	mouse     bool
	io        commands
	clock     func() time.Time
	style     style

	width, height int

	// What is in view. The cursor follows an id, not a position.
	tab     tab
	cursor  string
	top     int // first row drawn
	places  [tabCount]place
	shelves [tabCount]shelf // of the tabs but the queue
	filter  filter
	typing  *input // the filter being typed
	palette *palette

	// The queue.
	requests  []session.Request
	loaded    bool
	loading   bool // a load is under way
	stale     bool // and something happened since it began
	loadedAt  time.Time
	lost      error // why the queue is not fresh; nil when it is
	ended     bool  // access ended: nothing will change any more
	events    <-chan session.Event
	rewatchAt time.Time
	changedAt time.Time
	openFirst string
	read      map[string]string // fingerprint, by request, of what was read to its end
	marked    map[string]string // and of what is to be approved together

	detail  bool // the row under the cursor is open
	scroll  int
	wrapped wrapped
	past    past // what the session of the open request ran before
	seen    int  // lines of the open request that have been on the screen
	help    bool

	question *question // being asked
	outbox   []outgoing
	settled  string // the request whose decision was sent last

	flash      string
	flashUntil time.Time
}

func newReview(viewer session.Principal, clock func() time.Time) *review {
	return &review{viewer: viewer, clock: clock, style: newStyle(), width: 80, height: 24,
		read: map[string]string{}, marked: map[string]string{}}
}

// Init implements tea.Model.
func (m *review) Init() tea.Cmd {
	m.loading = true
	return tea.Batch(m.io.load, m.io.watch, m.io.shelf(tabDecided), tick())
}

// Update implements tea.Model.
func (m *review) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		return m, nil
	case tea.KeyPressMsg:
		cmd := m.onKey(msg)
		m.noteRead()
		return m, tea.Batch(cmd, m.wantHistory())
	case tea.MouseMsg:
		m.onMouse(msg)
		m.noteRead()
		return m, m.wantHistory()
	case tea.PasteMsg:
		m.onPaste(msg)
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
	case commentedMsg:
		return m, m.onCommented(msg)
	case shelfMsg:
		return m, m.onShelf(msg)
	case historyMsg:
		m.onHistory(msg)
		return m, nil
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
	var ring tea.Cmd
	if msg.err == nil {
		before, again := m.requests, m.loaded
		m.replace(msg.requests)
		if again {
			ring = m.alert(before, m.requests)
		}
	} else if isEnd(msg.err) {
		m.ended = true
	}
	if m.stale {
		return tea.Batch(ring, m.reload())
	}
	return ring
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
	if m.loaded && m.tab != tabQueue {
		m.requests = requests
		m.recheckOutbox()
		return
	}
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
	if shown := m.visible(); m.index() < 0 && len(shown) > 0 {
		m.cursor = shown[min(max(at, 0), len(shown)-1)].ID // the next one takes its place
	}
	after, has := m.current()
	if !has || had && before.ID != after.ID {
		if m.detail && had && before.ID != m.settled {
			m.say("Request %s no longer waits.", oneLine(before.ID))
		}
		if had {
			m.close()
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
	m.forget()
}

// forget drops what is remembered of requests that no longer wait.
func (m *review) forget() {
	for _, remembered := range []map[string]string{m.read, m.marked} {
		for id := range remembered {
			if _, ok := m.waitingRequest(id); !ok {
				delete(remembered, id)
			}
		}
	}
}

// fingerprint is what a reviewer judges: if it moves, they must look again.
func fingerprint(r session.Request) string {
	return fmt.Sprintf("%s %d %s %d %d %t %q", r.ID, r.State, r.Case.Digest(), len(r.Decisions), r.Approvals, r.Emergency, []string{r.Reason, r.Ticket, r.Rule,
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
	cmds := []tea.Cmd{m.reload(), m.loadShelf(), m.io.next(m.events)}
	if k := msg.event.Kind; m.tab != tabDecided && (k == session.EventRequestDecided || k == session.EventRequestEnded) {
		cmds = append(cmds, m.io.shelf(tabDecided)) // what comes next is compared with it
	}
	return tea.Batch(cmds...)
}

func (m *review) onTick() tea.Cmd {
	now := m.clock()
	if m.flash != "" && now.After(m.flashUntil) {
		m.flash = ""
	}
	cmds := m.sendDue(now)
	if !m.ended && !m.loading && now.Sub(m.loadedAt) >= reloadTime {
		cmds = append(cmds, m.reload(), m.loadShelf())
	}
	if !m.ended && !m.rewatchAt.IsZero() && !now.Before(m.rewatchAt) {
		m.rewatchAt = time.Time{}
		cmds = append(cmds, m.io.watch)
	}
	return tea.Batch(cmds...)
}

func (m *review) index() int { return slices.Index(m.ids(), m.cursor) }

// current is the request under the cursor; there is none among sessions.
func (m *review) current() (session.Request, bool) {
	if m.tab == tabSessions {
		return session.Request{}, false
	}
	list := m.visible()
	if i := slices.IndexFunc(list, func(r session.Request) bool { return r.ID == m.cursor }); i >= 0 {
		return list[i], true
	}
	return session.Request{}, false
}

// waitingRequest is a request of the queue, whatever is in view.
func (m *review) waitingRequest(id string) (session.Request, bool) {
	if i := slices.IndexFunc(m.requests, func(r session.Request) bool { return r.ID == id }); i >= 0 {
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
	case m.typing != nil:
		m.onFilterKey(k)
		return nil
	case m.palette != nil:
		return m.onPaletteKey(k)
	}
	return m.press(k.String())
}

// press does what a key means outside of questions and lines being typed.
func (m *review) press(key string) tea.Cmd {
	switch key {
	case "?":
		m.help = true
	case ":", "ctrl+p":
		m.palette = &palette{typed: input{limit: maxFilter}}
	case "/":
		m.startFilter()
	case "1", "2", "3", "4":
		return m.switchTo(tab(key[0] - '1'))
	case "m":
		m.toggleMark()
	case "A", "shift+a":
		m.askMarked()
	case "c":
		m.ask(actComment)
	case "u":
		m.undo()
	case "r":
		return tea.Batch(m.reload(), m.loadShelf())
	case "a":
		m.ask(actApprove)
	case "d":
		m.ask(actDeny)
	case "x":
		m.ask(actRevoke)
	case "q", "esc":
		return m.back(key)
	case "enter", "right", "l":
		if m.index() >= 0 && !m.detail {
			m.detail, m.scroll, m.seen = true, 0, 0
		}
	case "left", "h":
		m.detail, m.scroll = false, 0
	case "tab", "shift+tab":
		if !m.detail {
			step := tab(1)
			if key == "shift+tab" {
				step = tabCount - 1
			}
			return m.switchTo((m.tab + step) % tabCount)
		}
		m.move(key)
	default:
		m.move(key)
	}
	return nil
}

// back goes from a row to the list, from a filtered list to the whole one, and
// with q out of the screen.
func (m *review) back(key string) tea.Cmd {
	switch {
	case m.detail:
		m.detail, m.scroll = false, 0
	case !m.filter.empty() && key == "esc":
		m.setFilter(filter{})
	case key == "esc":
	case len(m.outbox) > 0:
		m.say("Not sent yet: wait, press u to undo, or ctrl+c to leave without sending.")
	default:
		return tea.Quit
	}
	return nil
}

// onPaste gives what is pasted to the line being typed.
func (m *review) onPaste(msg tea.PasteMsg) {
	switch {
	case m.question != nil && !m.question.confirm:
		m.question.reason.edit(msg)
	case m.question != nil:
	case m.typing != nil:
		m.typing.edit(msg)
	case m.palette != nil:
		m.palette.typed.edit(msg)
	}
}

// onMouse moves the cursor and scrolls; a click opens nothing that was not
// under the cursor before, and decides nothing.
func (m *review) onMouse(msg tea.MouseMsg) {
	if m.question != nil || m.help || m.typing != nil || m.palette != nil {
		return
	}
	switch msg := msg.(type) {
	case tea.MouseWheelMsg:
		key := "down"
		if msg.Button == tea.MouseWheelUp {
			key = "up"
		}
		m.move(key)
	case tea.MouseClickMsg:
		row := m.top + msg.Y - listHeadLines
		ids := m.ids()
		if m.detail || msg.Button != tea.MouseLeft || row < m.top || row >= len(ids) {
			return
		}
		if ids[row] == m.cursor {
			m.detail, m.scroll, m.seen = true, 0, 0
			return
		}
		m.cursor, m.changedAt = ids[row], time.Time{}
	}
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
	ids := m.ids()
	if len(ids) == 0 {
		return false
	}
	to := ids[min(max(m.index()+step, 0), len(ids)-1)]
	moved := to != m.cursor
	m.cursor = to
	if moved {
		m.changedAt = time.Time{} // chosen by the reviewer, so it may be decided at once
	}
	return moved
}

package tui

import (
	"fmt"
	"slices"
	"sort"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

// player is the state of the replay screen.
type player struct {
	io      playerCommands
	style   style
	report  recording.Report
	session recording.SessionFacts

	width, height int

	index  replay.Index
	filter replay.Filter
	rows   []int // positions in index.Entries that the filter keeps
	cursor int   // position in rows
	top    int   // first row drawn

	detail replay.Detail // of shown
	shown  int           // position in the index; -1 before the first answer
	scroll int
	whole  bool // the detail fills the screen

	pane terminalPane

	follow  bool // the session is running: more will come
	playing bool
	now     time.Time // the moment replayed
	tickAt  time.Time // when the last frame was; zero: none yet
	speed   int       // position in speeds
	idle    int       // position in idles

	typing *input // the search line is open
	query  string // of the matches
	found  []int  // positions in the index
	busy   bool   // a search is under way

	help   bool
	notice string
	broken error // the recording could not be read on
}

// newPlayer makes a player at the beginning of a recording.
func newPlayer(rec *replay.Recording, io playerCommands) *player {
	return &player{io: io, style: newStyle(), report: rec.Report(), session: rec.Session(),
		width: 80, height: 24, shown: -1, speed: normalSpeed, idle: normalIdle}
}

// Init implements tea.Model.
func (m *player) Init() tea.Cmd {
	if m.follow {
		return tea.Batch(m.io.read(0), m.io.follow())
	}
	return m.io.read(0)
}

// Update implements tea.Model.
func (m *player) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.update(msg)
	return m, tea.Batch(cmd, m.askScreen())
}

func (m *player) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.keepInView()
	case tea.KeyPressMsg:
		return m.onKey(msg)
	case tea.PasteMsg:
		if m.typing != nil {
			m.typing.edit(msg)
		}
	case batchMsg:
		return m.onBatch(msg)
	case entryMsg:
		m.onEntry(msg)
	case foundMsg:
		return m.onFound(msg)
	case terminalMsg:
		m.onTerminal(msg)
	case screenMsg:
		m.onScreen(msg)
	case playMsg:
		return m.onFrame(time.Time(msg))
	case followMsg:
		return m.onFollow(msg)
	}
	return nil
}

// onBatch adds what was read, and reads on until the end.
func (m *player) onBatch(msg batchMsg) tea.Cmd {
	if msg.err != nil {
		m.broken = msg.err
		return nil
	}
	first := len(m.index.Entries) == 0
	atEnd := m.cursor >= len(m.rows)-1
	m.index.Add(msg.batch, m.report.Signed)
	at, had := m.current()
	m.refilter()
	if had {
		m.moveTo(at)
	}
	var cmds []tea.Cmd
	if m.index.Next() < m.report.Events {
		cmds = append(cmds, m.io.read(m.index.Next()))
	}
	if first && len(m.index.Entries) > 0 {
		m.now = m.index.Entries[0].At
	}
	if m.follow && atEnd && !m.playing { // whoever looked elsewhere stays there
		cmds = append(cmds, m.step(len(m.rows)))
	}
	return tea.Batch(append(cmds, m.load())...)
}

// onFollow takes in what the session has signed since, and looks again later,
// until it has ended.
func (m *player) onFollow(msg followMsg) tea.Cmd {
	if msg.err != nil {
		m.broken, m.follow = msg.err, false
		return nil
	}
	complete := m.complete() // otherwise reading goes on by itself
	m.report = msg.report
	var cmds []tea.Cmd
	if complete && !m.complete() {
		cmds = append(cmds, m.io.read(m.index.Next()))
	}
	if !m.report.Sealed {
		cmds = append(cmds, m.io.follow())
	}
	return tea.Batch(cmds...)
}

// complete reports whether the index holds the whole recording.
func (m *player) complete() bool { return m.index.Next() >= m.report.Events }

// refilter computes the rows again: an entry changes as its later events come.
func (m *player) refilter() {
	m.rows = m.rows[:0]
	for i, e := range m.index.Entries {
		if m.filter.Keep(e) {
			m.rows = append(m.rows, i)
		}
	}
	m.cursor = max(0, min(m.cursor, len(m.rows)-1))
	m.keepInView()
}

func (m *player) setFilter(f replay.Filter) {
	at, had := m.current()
	m.filter = f
	m.refilter()
	if had {
		m.moveTo(at)
	}
}

// current is the position in the index of the row under the cursor.
func (m *player) current() (int, bool) {
	if m.cursor >= len(m.rows) {
		return 0, false
	}
	return m.rows[m.cursor], true
}

// moveTo puts the cursor on the last row at or before a position in the index.
func (m *player) moveTo(at int) {
	n := sort.SearchInts(m.rows, at+1)
	m.cursor = max(0, n-1)
	m.keepInView()
}

// step moves the cursor by rows and loads what is there.
func (m *player) step(by int) tea.Cmd {
	if len(m.rows) == 0 {
		return nil
	}
	m.cursor = max(0, min(m.cursor+by, len(m.rows)-1))
	m.keepInView()
	if at, ok := m.current(); ok {
		m.now = m.index.Entries[at].At
	}
	return m.load()
}

// stepStatement moves to the next statement in a direction.
func (m *player) stepStatement(by int) tea.Cmd {
	for i := m.cursor + by; i >= 0 && i < len(m.rows); i += by {
		if m.index.Entries[m.rows[i]].Statement() {
			return m.step(i - m.cursor)
		}
	}
	m.notice = "No further statement that way."
	return nil
}

// load asks for the entry under the cursor, unless it is there.
func (m *player) load() tea.Cmd {
	at, ok := m.current()
	if !ok {
		return nil
	}
	e := m.index.Entries[at]
	if at == m.shown && len(m.detail.Events) == len(e.Events) {
		return nil
	}
	return m.io.entry(at, e)
}

func (m *player) onEntry(msg entryMsg) {
	if msg.err != nil {
		m.broken = msg.err
		return
	}
	if at, ok := m.current(); !ok || at != msg.at {
		return // the cursor has moved on
	}
	if m.shown != msg.at {
		m.scroll = 0
	}
	m.shown, m.detail = msg.at, msg.detail
}

// keepInView scrolls the list so that the cursor shows.
func (m *player) keepInView() {
	h := m.listHeight()
	m.top = min(m.top, m.cursor)
	m.top = max(m.top, m.cursor-h+1, 0)
}

func (m *player) startSearch() tea.Cmd {
	text := m.typing.value()
	m.typing = nil
	if text == "" {
		m.query, m.found = "", nil
		return nil
	}
	m.busy = true
	// The command runs beside Update, which changes entries while reading; the
	// event lists only grow behind what the copies see.
	return m.io.search(slices.Clone(m.index.Entries), text)
}

func (m *player) onFound(msg foundMsg) tea.Cmd {
	m.busy = false
	if msg.err != nil {
		m.notice = "Search: " + msg.err.Error()
		return nil
	}
	m.query, m.found = msg.query, msg.at
	if len(msg.at) == 0 {
		m.notice = fmt.Sprintf("Nothing matches %q.", msg.query)
		return nil
	}
	at, _ := m.current()
	i := sort.SearchInts(m.found, at)
	if i == len(m.found) {
		i = 0
	}
	return m.jump(m.found[i])
}

// match moves to the next or previous match, around the end.
func (m *player) match(by int) tea.Cmd {
	if len(m.found) == 0 {
		m.notice = "Search first: press /"
		return nil
	}
	at, _ := m.current()
	i := sort.SearchInts(m.found, at)
	switch exact := i < len(m.found) && m.found[i] == at; {
	case by < 0:
		i--
	case exact:
		i++
	}
	return m.jump(m.found[(i+len(m.found))%len(m.found)])
}

// jump shows a position in the index, lifting the filter if it hides it.
func (m *player) jump(at int) tea.Cmd {
	if !m.filter.Keep(m.index.Entries[at]) {
		m.notice = "The filter was lifted to show a match."
		m.setFilter(replay.Filter{})
	}
	m.moveTo(at)
	return m.step(0)
}

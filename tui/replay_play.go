package tui

import (
	"sort"
	"time"

	tea "charm.land/bubbletea/v2"
)

// The speeds of a replay, and the longest that nothing may happen in it; an
// idle limit of zero is none.
var (
	speeds = [...]float64{0.25, 0.5, 1, 2, 4, 8, 16, 64}
	idles  = [...]time.Duration{2 * time.Second, 5 * time.Second, 0, 500 * time.Millisecond}
)

const (
	normalSpeed = 2 // 1×
	normalIdle  = 0 // 2 s
)

func (m *player) pause() { m.playing, m.tickAt = false, time.Time{} }

func (m *player) togglePlay() tea.Cmd {
	if m.playing {
		m.pause()
		return nil
	}
	if len(m.rows) == 0 {
		return nil
	}
	at, _ := m.current()
	m.now = m.index.Entries[at].At
	var cmd tea.Cmd
	if m.cursor == len(m.rows)-1 && m.complete() { // at the end: once more
		cmd = m.step(-len(m.rows))
	}
	m.playing, m.tickAt = true, time.Time{}
	return tea.Batch(cmd, m.io.tick())
}

// onFrame moves the replayed moment on by the time since the last frame.
func (m *player) onFrame(t time.Time) tea.Cmd {
	if !m.playing {
		return nil
	}
	if !m.tickAt.IsZero() {
		m.advance(t.Sub(m.tickAt))
	}
	m.tickAt = t
	if m.cursor == len(m.rows)-1 && m.complete() {
		m.pause()
		m.notice = "The end. Space plays it again."
		return m.load()
	}
	return tea.Batch(m.load(), m.io.tick())
}

// advance plays d of the viewer's time: the cursor follows the rows that began
// by then. A longer pause than the idle limit is cut down to it.
func (m *player) advance(d time.Duration) {
	left := time.Duration(float64(d) * speeds[m.speed])
	for left > 0 && m.cursor+1 < len(m.rows) {
		next := m.index.Entries[m.rows[m.cursor+1]].At
		if limit := idles[m.idle]; limit > 0 && next.Sub(m.now) > limit {
			m.now = next.Add(-limit)
		}
		wait := max(next.Sub(m.now), 0) // events of several drivers may be out of step
		if wait > left {
			m.now = m.now.Add(left)
			break
		}
		left -= wait
		m.now = next
		m.cursor++
	}
	m.keepInView()
}

// span is the time from the first to the last entry.
func (m *player) span() (from time.Time, length time.Duration) {
	if len(m.index.Entries) == 0 {
		return time.Time{}, 0
	}
	from = m.index.Entries[0].At
	last := m.index.Entries[len(m.index.Entries)-1]
	return from, max(last.At.Sub(from), last.Until.Sub(from), 0)
}

// The marks of the time bar, weakest first: a cell shows the strongest of what
// happened in its share of the time.
const barMarks = "·+?x"

// bar draws the whole session in width cells, and says in which one now is.
func (m *player) bar(width int) (marks []byte, cursor int) {
	marks = make([]byte, width)
	from, length := m.span()
	if length == 0 || width == 0 {
		return marks, 0
	}
	es := m.index.Entries
	for i := range marks {
		lo := m.entryAt(from.Add(length * time.Duration(i) / time.Duration(width)))
		hi := len(es)
		if i+1 < width {
			hi = m.entryAt(from.Add(length * time.Duration(i+1) / time.Duration(width)))
		}
		for at := min(lo, hi); at < hi; at++ {
			e := &es[at]
			marks[i] = max(marks[i], barMark(e.Statement(), e.Held(), e.Denied()))
		}
	}
	cursor = int(int64(width) * int64(m.now.Sub(from)) / int64(length+1))
	return marks, max(0, min(cursor, width-1))
}

// entryAt is the first entry that began at or after t.
func (m *player) entryAt(t time.Time) int {
	return sort.Search(len(m.index.Entries), func(i int) bool { return !m.index.Entries[i].At.Before(t) })
}

// barMark is a position in barMarks' runes.
func barMark(statement, held, denied bool) byte {
	switch {
	case denied:
		return 3
	case held:
		return 2
	case statement:
		return 1
	}
	return 0
}

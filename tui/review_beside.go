package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/session"
)

// ReviewBeside runs work in the upper half of the screen, showing the lines it
// writes, with the review screen in the lower half. It returns what work wrote
// and work's error. If the viewer leaves before work has ended, work's context
// is cancelled and waited for.
func ReviewBeside(ctx context.Context, desk session.Desk, office session.Office, opt ReviewOptions, title string,
	work func(ctx context.Context, out io.Writer) error) (written string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &beside{title: title, review: newReview(opt.Viewer, opt.Now)}
	m.review.io, m.review.canRevoke = deskCommands{ctx: ctx, desk: desk, office: office}, office != nil
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(opt.In), tea.WithOutput(opt.Out))
	out := &lineWriter{send: func(line string) { p.Send(lineMsg(line)) }}
	ended := make(chan error, 1)
	go func() {
		err := work(ctx, out)
		out.flush()
		p.Send(endedMsg{err})
		ended <- err
	}()
	_, drawErr := p.Run()
	if errors.Is(drawErr, tea.ErrProgramKilled) && ctx.Err() != nil {
		drawErr = ctx.Err()
	}
	cancel()
	err = <-ended
	if drawErr != nil {
		err = errors.Join(err, fmt.Errorf("drawing the split screen: %w", drawErr))
	}
	return out.text(), err
}

type (
	lineMsg  string
	endedMsg struct{ err error }
)

// beside is the split screen: lines above, the review screen below.
type beside struct {
	title         string
	review        *review
	width, height int
	lines         []string
	ended         bool
	err           error
}

// Init implements tea.Model.
func (m *beside) Init() tea.Cmd { return m.review.Init() }

// Update implements tea.Model.
func (m *beside) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		_, cmd := m.review.Update(tea.WindowSizeMsg{Width: msg.Width, Height: msg.Height - m.top()})
		return m, cmd
	case lineMsg:
		m.lines = append(m.lines, sanitize(string(msg)))
		return m, nil
	case endedMsg:
		m.ended, m.err = true, msg.err
		return m, nil
	case tea.KeyPressMsg:
		if m.ended && m.review.question == nil && (msg.String() == "q" || msg.String() == "enter" || msg.String() == "esc") {
			return m, tea.Quit
		}
	}
	_, cmd := m.review.Update(msg)
	return m, cmd
}

// top is how many lines the upper half has, its rule included; the review
// screen keeps at least its smallest height.
func (m *beside) top() int { return min(m.height/2, max(m.height-minHeight, 0)) }

// View implements tea.Model.
func (m *beside) View() tea.View {
	v := m.review.View()
	v.WindowTitle = m.title
	v.SetContent(m.render())
	return v
}

func (m *beside) render() string {
	n := max(m.top()-1, 0)
	last := m.lines[max(len(m.lines)-n, 0):]
	upper := fill(last, n)
	for i := range upper {
		upper[i] = fit(upper[i], m.width)
	}
	state := m.title + " · running"
	if m.ended {
		state = m.title + " · ended · press q to leave"
	}
	upper = append(upper, fit(m.review.style.title.Render(state)+" "+strings.Repeat("─", max(m.width, 0)), m.width))
	return strings.Join(upper, "\n") + "\n" + m.review.render()
}

// lineWriter cuts what is written into lines and keeps all of it.
type lineWriter struct {
	send func(line string)

	mu   sync.Mutex
	all  strings.Builder
	rest string
}

// Write implements io.Writer; it never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.all.Write(p)
	lines := strings.Split(w.rest+string(p), "\n")
	w.rest = lines[len(lines)-1]
	w.mu.Unlock()
	for _, l := range lines[:len(lines)-1] {
		w.send(l)
	}
	return len(p), nil
}

func (w *lineWriter) flush() {
	w.mu.Lock()
	rest := w.rest
	w.rest = ""
	w.mu.Unlock()
	if rest != "" {
		w.send(rest)
	}
}

func (w *lineWriter) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

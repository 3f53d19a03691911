package tui

import (
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/jit-access/jit/replay"
)

func TestSQLClasses(t *testing.T) {
	for text, want := range map[string]string{
		`SELECT a, 'it''s' FROM t -- x`:   `kkkkkk    sssssss kkkk   cccc`,
		`select "from" from "a""b" x`:     `kkkkkk        kkkk         `,
		`WHERE a = 1.5e3 AND b=$$x'y$$;`:  `kkkkk     nnnnn kkk   sssssss `,
		"/* a\nb */ from_x 'a\\'b' 'open": "ccccccccc        ssssss sssss",
		`where2 //c`:                      `       ccc`,
		`/* open`:                         `ccccccc`,
		`$$`:                              `ss`,
		``:                                ``,
	} {
		letters := map[sqlClass]byte{sqlPlain: ' ', sqlKeyword: 'k', sqlString: 's', sqlNumber: 'n', sqlComment: 'c'}
		var got []byte
		for _, c := range sqlClasses(text) {
			got = append(got, letters[c])
		}
		if string(got) != want {
			t.Errorf("%q\n got %q\nwant %q", text, got, want)
		}
	}
}

func TestSQLIsDrawnInColour(t *testing.T) {
	m := &player{style: newStyle()}
	lines := m.sqlLines("SELECT 'abc', 12\nFROM t", 80)
	if len(lines) != 2 || !strings.Contains(lines[0], m.style.good.Render("'abc'")) || !strings.Contains(lines[0], m.style.key.Render("12")) || !strings.HasPrefix(lines[1], m.style.strong.Render("FROM")) {
		t.Errorf("lines: %q", lines)
	}
}

// FuzzSQLLines: whatever the text, what is drawn is the text, and no style
// leaks over the end of a line.
func FuzzSQLLines(f *testing.F) {
	f.Add("SELECT 'a\nb' FROM t /* x */", 7)
	f.Add("\n\n'\n", 3)
	f.Add("漢字漢字 '漢'", 4)
	f.Add("a\n  b\n\n c", 2)
	f.Fuzz(func(t *testing.T, text string, width int) {
		text = replay.Visible(text)
		width = max(2, width%200)
		m := &player{style: newStyle()}
		lines := m.sqlLines(text, width)
		var plain []string
		for _, l := range lines {
			if strings.Contains(l, "\x1b[") && !strings.HasSuffix(l, "\x1b[m") && strings.LastIndex(l, "\x1b[m") < strings.LastIndex(l, "\x1b[") {
				t.Errorf("a style stays open in %q", l)
			}
			plain = append(plain, ansi.Strip(l))
		}
		if want := textLines(text, width); !slices.Equal(plain, want) {
			t.Errorf("drawn %q\n want %q", plain, want)
		}
	})
}

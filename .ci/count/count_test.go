package main

import (
	"io"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	const (
		pass   = `{"Action":"pass","Package":"p","Test":"A"}`
		skip   = `{"Action":"output","Package":"p","Test":"S","Output":"no keyring\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"S"}`
		fail   = `{"Action":"output","Package":"p","Test":"F","Output":"want 1\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"F"}` + "\n" + `{"Action":"fail","Package":"p"}`
		dies   = `{"Action":"output","Package":"p","Output":"panic: x\n"}` + "\n" + `{"Action":"fail","Package":"p"}`
		build  = `{"ImportPath":"p [p.test]","Action":"build-output","Output":"undefined: x\n"}` + "\n" + `{"ImportPath":"p [p.test]","Action":"build-fail"}` + "\n" + `{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`
		exit0  = `{"Action":"exit","Package":"run","Output":"exit status 0\n"}`
		exit1  = `{"Action":"exit","Package":"run","Output":"exit status 1\n"}`
		whole  = `{"Action":"pass","Package":"p"}`
		chatty = `go: downloading example.com v1.0.0`
	)
	for name, test := range map[string]struct {
		in   []string
		last string // line
		ok   bool
		says string
	}{
		"all pass":                   {[]string{chatty, pass, whole, exit0}, "1 passed, 0 failed", true, ""},
		"nothing ran":                {[]string{exit0}, "0 passed, 0 failed", false, ""},
		"no input":                   {nil, "0 passed, 0 failed", false, ""},
		"a failure":                  {[]string{pass, fail, exit1}, "1 passed, 1 failed", false, "want 1"},
		"a skip is no pass":          {[]string{pass, skip, whole, exit0}, "1 passed, 0 failed", true, "SKIPPED p S\nno keyring\n1 skipped"},
		"only skips":                 {[]string{skip, whole, exit0}, "0 passed, 0 failed", false, "SKIPPED p S"},
		"a package that dies":        {[]string{pass, dies, exit1}, "1 passed, 1 failed", false, "panic: x"},
		"a package that won't build": {[]string{pass, build, exit1}, "1 passed, 1 failed", false, "undefined: x"},
		"a run that says nothing":    {[]string{pass, whole, exit1}, "1 passed, 1 failed", false, "exit status 1"},
		"two runs, the first failed": {[]string{fail, exit1, pass, exit0}, "1 passed, 1 failed", false, "FAILED p F"},
		"two runs, the second mute":  {[]string{fail, exit1, exit1}, "0 passed, 2 failed", false, "FAILED run"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tally{seen: map[testID]string{}, output: map[testID][]string{}}
			if err := c.read(strings.NewReader(strings.Join(test.in, "\n")), io.Discard); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			ok := c.report(&out)
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if ok != test.ok || lines[len(lines)-1] != test.last || !strings.Contains(out.String(), test.says) {
				t.Errorf("ok %v, want %v, %q and %q:\n%s", ok, test.ok, test.last, test.says, out.String())
			}
		})
	}
}

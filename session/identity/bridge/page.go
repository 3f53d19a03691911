package bridge

import (
	"html/template"
	"net/http"
)

const (
	cookieName = "jit_sign_in"
	cookieLife = codeLife
)

// The pages have no script and no style: nothing of them can be loaded, framed
// or injected.
func pages() *template.Template {
	return template.Must(template.New("").Parse(`
{{define "head"}}<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>jit</title>{{end}}
{{define "entry"}}{{template "head"}}<h1>Sign in to jit</h1>
{{with .Problem}}<p role="alert"><strong>{{.}}</strong></p>{{end}}
<form method="post" action="/device"><p><label>Code shown by your terminal: <input name="user_code" value="{{.Code}}" autocomplete="off" autocapitalize="characters" required autofocus></label></p>
<p>Enter a code only if you asked for it yourself, just now.</p>
<input type="hidden" name="form" value="{{.Form}}"><button>Continue</button></form>{{end}}
{{define "confirm"}}{{template "head"}}<h1>Sign in on another device?</h1>
<p>You are signed in as <strong>{{.Who}}</strong>.</p>
<p>The terminal that shows <strong>{{.Code}}</strong>, which asked at {{.At}} from {{.From}}, will act as you.</p>
<p>If you did not start this, or somebody sent you the code, press No.</p>
<form method="post" action="/device/confirm"><input type="hidden" name="login" value="{{.Login}}"><input type="hidden" name="form" value="{{.Form}}">
<button name="answer" value="no" autofocus>No</button> <button name="answer" value="yes">Yes, sign it in</button></form>{{end}}
{{define "done"}}{{template "head"}}<h1>{{.Title}}</h1><p>{{.Text}}</p>{{end}}`))
}

func (b *Bridge) show(w http.ResponseWriter, r *http.Request, status int, page string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := pages().ExecuteTemplate(w, page, data); err != nil {
		b.log.WarnContext(r.Context(), "showing a page broke off", "error", err)
	}
}

func (b *Bridge) showProblem(w http.ResponseWriter, r *http.Request, status int, text string) {
	b.show(w, r, status, "done", map[string]string{"Title": "This did not work", "Text": text})
}

// browser is what tells one browser from another: a cookie that the code entry
// sets. ok is false without one.
func browser(r *http.Request) (digest, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil || c.Value == "" {
		return digest{}, false
	}
	return digestOf(c.Value), true
}

type entry struct{ Code, Form, Problem string }

// formOf is what a form of the entry page must bring: only a page that this
// server gave this browser has it.
func formOf(cookie string) string {
	d := digestOf("entry form " + cookie)
	return encode(d)
}

func (b *Bridge) showEntry(w http.ResponseWriter, r *http.Request) {
	b.entryPage(w, r, http.StatusOK, "")
}

func (b *Bridge) entryPage(w http.ResponseWriter, r *http.Request, status int, problem string) {
	cookie := newSecret()
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS: everywhere but on loopback
		Name: cookieName, Value: cookie, Path: "/device", HttpOnly: true, Secure: b.secure, SameSite: http.SameSiteLaxMode, MaxAge: int(cookieLife.Seconds()),
	})
	shown := ""
	if c := typedCode(r.FormValue("user_code")); len(c) == 8 {
		shown = shownCode(c)
	}
	b.show(w, r, status, "entry", entry{Code: shown, Form: formOf(cookie), Problem: problem})
}

// ownForm reports whether a form came from a page of ours.
func (b *Bridge) ownForm(r *http.Request) bool {
	o := r.Header.Get("Origin")
	return (o == "" || o == b.cfg.Issuer || o == "null" && r.Header.Get("Sec-Fetch-Site") == "same-origin") && r.Header.Get("Sec-Fetch-Site") != "cross-site"
}

// enter takes a code and sends the browser to the identity provider.
func (b *Bridge) enter(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || !b.ownForm(r) || !same(digestOf(r.PostFormValue("form")), digestOf(formOf(cookie.Value))) {
		b.entryPage(w, r, http.StatusForbidden, "Enter the code again: the page was too old, or not ours.")
		return
	}
	c, problem := b.find(typedCode(r.PostFormValue("user_code")), place(b.address(r)))
	if problem != "" {
		b.entryPage(w, r, http.StatusBadRequest, problem)
		return
	}
	relay := newSecret()
	to, id, err := b.authnRequest(relay)
	if err != nil {
		b.log.ErrorContext(r.Context(), "making a SAML request failed", "error", err)
		b.showProblem(w, r, http.StatusInternalServerError, "The identity provider cannot be asked.")
		return
	}
	b.mu.Lock()
	room := c.logins < maxLoginsTo && len(b.logins) < maxLogins
	if room {
		c.logins++
		b.logins[digestOf(relay)] = &login{code: c, browser: digestOf(cookie.Value), request: id, at: b.now()}
	}
	b.mu.Unlock()
	if !room {
		b.showProblem(w, r, http.StatusTooManyRequests, "The code was entered too often. Start again at your terminal.")
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// find looks up a user code that was entered from a place.
func (b *Bridge) find(typed, from string) (*code, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep()
	c := b.byUser[typed]
	if b.guesses.over(b.now(), from, c != nil && place(c.from) == from) {
		return nil, "Too many wrong codes were entered. Wait a minute."
	}
	if c == nil || c.decided {
		b.guesses.wrong(from)
		return nil, "There is no such code, or it is over. Look at your terminal again."
	}
	return c, ""
}

// showConfirm shows, to the browser that entered the code, what it approves.
func (b *Bridge) showConfirm(w http.ResponseWriter, r *http.Request) {
	relay := r.FormValue("login")
	b.mu.Lock()
	l := b.ofBrowser(r, relay)
	if l == nil {
		b.mu.Unlock()
		b.showProblem(w, r, http.StatusForbidden, "This sign-in was begun in another browser, or is over. Start again.")
		return
	}
	form := newSecret()
	l.form = digestOf(form)
	data := map[string]string{
		"Who": l.person.display(), "Code": shownCode(l.code.user), "From": l.code.from, "At": l.code.at.UTC().Format("15:04:05 MST"), "Login": relay, "Form": form,
	}
	b.mu.Unlock()
	b.show(w, r, http.StatusOK, "confirm", data)
}

// ofBrowser finds a login that was answered, for the browser it belongs to. The
// caller holds mu.
func (b *Bridge) ofBrowser(r *http.Request, relay string) *login {
	l := b.logins[digestOf(relay)]
	who, ok := browser(r)
	if l == nil || !ok || !same(l.browser, who) || l.person == nil || b.now().Sub(l.at) >= codeLife {
		return nil
	}
	return l
}

func (b *Bridge) confirm(w http.ResponseWriter, r *http.Request) {
	relay := r.PostFormValue("login")
	b.mu.Lock()
	l := b.ofBrowser(r, relay)
	if l == nil || l.form == (digest{}) || !b.ownForm(r) || !same(l.form, digestOf(r.PostFormValue("form"))) {
		b.mu.Unlock()
		b.showProblem(w, r, http.StatusForbidden, "This sign-in was begun in another browser, or is over. Start again.")
		return
	}
	delete(b.logins, digestOf(relay))
	over := l.code.decided || l.code.expired(b.now())
	yes := r.PostFormValue("answer") == "yes"
	if !over {
		l.code.decided, l.code.denied, l.code.person = true, !yes, l.person
	}
	b.mu.Unlock()
	switch {
	case over:
		b.showProblem(w, r, http.StatusConflict, "The code is over. Start again at your terminal.")
	case yes:
		b.log.InfoContext(r.Context(), "signed in by SAML", "subject", l.person.Subject)
		b.show(w, r, http.StatusOK, "done", map[string]string{"Title": "Signed in", "Text": "Go back to your terminal. You can close this page."})
	default:
		b.show(w, r, http.StatusOK, "done", map[string]string{"Title": "Refused", "Text": "The terminal is not signed in."})
	}
}

package op

import (
	"errors"
	"html/template"
	"net/http"

	"github.com/jit-access/jit/session/secret"
)

const devicePath = "/device"

// page is the sign-in page. Every submission carries the password, so there is
// no session to ride on and no token against forged requests is needed.
type page struct {
	Code, Name, Error string
	Done              string // what happened, in place of the form
}

// showForm never acts: following a link cannot approve anything.
func (p *Provider) showForm(w http.ResponseWriter, r *http.Request) {
	render(w, http.StatusOK, page{Code: r.URL.Query().Get("user_code")})
}

func (p *Provider) submitForm(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "cannot read the form", http.StatusBadRequest)
		return
	}
	form := page{Code: r.PostForm.Get("user_code"), Name: r.PostForm.Get("name")}
	approve := r.PostForm.Get("action") == "approve"
	err := p.store.authenticate(form.Code, form.Name, secret.New(r.PostForm.Get("password")), approve)
	status := http.StatusForbidden
	switch {
	case err == nil && approve:
		status, form.Done = http.StatusOK, "Signed in. You can close this page and go back to the terminal."
	case err == nil:
		status, form.Done = http.StatusOK, "Refused. You can close this page."
	case errors.Is(err, ErrUnknownUser):
		form.Error = "That name and password do not belong together."
	case errors.Is(err, ErrUnknownCode):
		form.Error = "That code is not known. Check it against the terminal."
	case errors.Is(err, ErrExpiredCode):
		form.Error = "That code has expired. Run the command again."
	default:
		form.Error = "That code was already used. Run the command again."
	}
	render(w, status, form)
}

func render(w http.ResponseWriter, status int, p page) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	_ = pageTemplate().Execute(w, p) // the client went away; nobody is left to tell
}

// pageTemplate parses anew each time: a page is shown a few times per process,
// and no package state is worth that.
func pageTemplate() *template.Template { return template.Must(template.New("device").Parse(pageHTML)) }

const pageHTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in to jit</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 24rem; margin: 4rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
label { display: block; margin-top: 1rem }
input { font: inherit; width: 100%; box-sizing: border-box; padding: .4rem }
button { font: inherit; margin: 1.5rem .5rem 0 0; padding: .4rem 1.2rem }
.error { color: #a40000 }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161616 } .error { color: #ff8f8f } }
</style>
</head>
<body>
<h1>Sign in to jit</h1>
{{if .Done}}<p>{{.Done}}</p>
{{else}}<p>A command asks to sign in as you. Go on only if you started it and the code is the one it shows.</p>
{{if .Error}}<p class="error" role="alert">{{.Error}}</p>{{end}}
<form method="post" action="/device" autocomplete="off">
<label>Code <input name="user_code" value="{{.Code}}" required autocapitalize="characters" spellcheck="false"></label>
<label>Name <input name="name" value="{{.Name}}" required autocapitalize="none" spellcheck="false"></label>
<label>Password <input name="password" type="password" required></label>
<button name="action" value="deny">Refuse</button>
<button name="action" value="approve">Sign in</button>
</form>{{end}}
</body>
</html>
`

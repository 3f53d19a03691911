package bridge

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/crewjam/saml"
)

func encode(d digest) string { return base64.RawURLEncoding.EncodeToString(d[:]) }

func (p *person) display() string {
	switch {
	case p.Email != "":
		return p.Email
	case p.Name != "":
		return p.Name
	}
	return p.Subject
}

func (b *Bridge) showMetadata(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	out, err := xml.MarshalIndent(b.sp.Metadata(), "", "  ")
	if err != nil { // the same for every call
		http.Error(w, "the metadata cannot be written", http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(out)
}

// authnRequest is where to send the browser, and the id that the answer must name.
func (b *Bridge) authnRequest(relay string) (to, id string, err error) {
	req, err := b.sp.MakeAuthenticationRequest(b.sso, saml.HTTPRedirectBinding, saml.HTTPPostBinding)
	if err != nil {
		return "", "", err
	}
	u, err := req.Redirect(url.QueryEscape(relay), b.sp)
	if err != nil {
		return "", "", err
	}
	return u.String(), req.ID, nil
}

// consume takes the identity provider's answer. It approves nothing: it hands
// the browser on to the page that asks.
func (b *Bridge) consume(w http.ResponseWriter, r *http.Request) {
	relay := r.PostFormValue("RelayState")
	b.mu.Lock()
	l := b.logins[digestOf(relay)]
	request := ""
	if l != nil && b.now().Sub(l.at) < codeLife {
		request, l.request = l.request, "" // whatever comes of it, it is answered
	}
	b.mu.Unlock()
	if request == "" {
		b.showProblem(w, r, http.StatusForbidden, "Nobody asked for this sign-in here, or it was answered already. Start at your terminal.")
		return
	}
	p, err := b.read(r.PostFormValue("SAMLResponse"), request)
	if err != nil {
		cause := err
		var invalid *saml.InvalidResponseError
		if errors.As(err, &invalid) {
			cause = invalid.PrivateErr
		}
		b.log.WarnContext(r.Context(), "SAML response refused", "error", cause)
		b.showProblem(w, r, http.StatusForbidden, "The identity provider's answer is not valid here. The server's log says why.")
		return
	}
	// Whoever began the sign-in knows the relay state, and may have had somebody
	// else answer. What leads on from here is known to the answering browser
	// alone, and good only in the browser that began: it must be one.
	answered := newSecret()
	b.mu.Lock()
	delete(b.logins, digestOf(relay))
	l.person = p
	b.logins[digestOf(answered)] = l
	b.mu.Unlock()
	http.Redirect(w, r, "/device/confirm?login="+url.QueryEscape(answered), http.StatusSeeOther)
}

// checkShape refuses what no provider sends and attacks are made of: document
// types, processing instructions, comments, and more than one assertion or
// signature of the same thing. What is signed is then what is read.
func checkShape(raw []byte) error {
	assertions, signatures := 0, 0
	for d, first := xml.NewDecoder(bytes.NewReader(raw)), true; ; first = false { //nolint:gosec // only tokens are read: nothing is made of them
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.New("the response is not XML")
		}
		switch t := tok.(type) {
		case xml.Directive, xml.Comment:
			return errors.New("the response has a document type or a comment")
		case xml.ProcInst:
			if !first || t.Target != "xml" {
				return errors.New("the response has a processing instruction")
			}
		case xml.StartElement:
			switch t.Name.Local {
			case "Assertion":
				assertions++
			case "Signature":
				signatures++
			case "EncryptedAssertion":
				return errors.New("the assertion is encrypted, which is not supported")
			}
		}
	}
	if assertions != 1 || signatures > 2 {
		return fmt.Errorf("the response has %d assertions and %d signatures", assertions, signatures)
	}
	return nil
}

// read verifies a response and reads whom it names. Beyond what crewjam/saml
// checks, it asks for what the library takes as optional.
func (b *Bridge) read(encoded, request string) (_ *person, err error) {
	// The library follows pointers that a signed but odd assertion leaves nil.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the response is malformed: %v", p)
		}
	}()
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("the response is not base64")
	}
	if err := checkShape(raw); err != nil {
		return nil, err
	}
	a, err := b.sp.ParseXMLResponse(raw, []string{request}, b.sp.AcsURL)
	if err != nil {
		return nil, err
	}
	switch {
	case a.Conditions == nil || a.Conditions.NotOnOrAfter.IsZero():
		return nil, errors.New("the assertion has no end")
	case !slices.ContainsFunc(a.Conditions.AudienceRestrictions, func(r saml.AudienceRestriction) bool { return r.Audience.Value == b.sp.EntityID }):
		return nil, errors.New("the assertion names no audience")
	case a.Subject == nil || a.Subject.NameID == nil || a.Subject.NameID.Value == "":
		return nil, errors.New("the assertion names nobody")
	case a.Subject.NameID.Format == string(saml.TransientNameIDFormat):
		return nil, errors.New("the assertion's name is transient: have the identity provider send a persistent one, or the e-mail address")
	case !slices.ContainsFunc(a.Subject.SubjectConfirmations, func(c saml.SubjectConfirmation) bool {
		return c.Method == "urn:oasis:names:tc:SAML:2.0:cm:bearer" && c.SubjectConfirmationData != nil && !c.SubjectConfirmationData.NotOnOrAfter.IsZero()
	}):
		return nil, errors.New("the assertion is not confirmed for its bearer")
	}
	p := &person{Subject: a.Subject.NameID.Value, at: b.now()}
	for _, st := range a.AttributeStatements {
		for _, at := range st.Attributes {
			is := func(name string) bool { return at.Name == name || at.FriendlyName == name }
			for _, v := range at.Values {
				switch {
				case is(b.cfg.Groups) && v.Value != "":
					p.Groups = append(p.Groups, v.Value)
				case is(b.cfg.Email) && p.Email == "":
					p.Email = v.Value
				case is(b.cfg.Name) && p.Name == "":
					p.Name = v.Value
				}
			}
		}
	}
	return p, nil
}

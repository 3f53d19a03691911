package cmd

import (
	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/secret"
)

// mail says how the server writes to reviewers. The password is not in it: it is
// read from its file when the server starts.
func (o serverOptions) mail() (approval.Mail, error) {
	m := approval.Mail{URL: o.SMTPURL, From: o.MailFrom}
	for _, text := range o.MailTo {
		r, err := approval.ParseRecipient(text)
		if err != nil {
			return m, usagef("--mail-to %w", err)
		}
		m.To = append(m.To, r)
	}
	if err := m.Check(); err != nil {
		return m, usagef("--smtp-url, --mail-from, --mail-to: %w", err)
	}
	if o.SMTPURL == "" && o.SMTPPasswordFile != "" {
		return m, usagef("--smtp-password-file: there is no --smtp-url to use it with")
	}
	return m, nil
}

// mailWithPassword is mail with what stands in the password file.
func (a *App) mailWithPassword(o serverOptions) (approval.Mail, error) {
	m, err := o.mail()
	if err != nil || o.SMTPPasswordFile == "" {
		return m, err
	}
	var password secret.Text
	if password, err = a.readSecret(o.SMTPPasswordFile); err != nil {
		return m, err
	}
	m.Password = password
	return m, nil
}

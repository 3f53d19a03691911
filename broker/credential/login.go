package credential

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/secret"
)

// Params says who logs in and with what the session starts. Account and, for
// most credentials, User are needed; the rest may be empty.
type Params struct {
	Account   string // identifier or locator, with or without region
	User      string
	Role      string
	Warehouse string
	Database  string
	Schema    string

	// SessionParameters are set at login. Values are text: Snowflake converts
	// them, as it does for the drivers' connection strings.
	SessionParameters map[string]string

	// Application shows in Snowflake's login history; empty means "jit".
	Application string

	// Client is the driver dialect that Snowflake should answer in; the zero
	// value is the Go driver's.
	Client Client

	// AllSecondaryRoles lets the session use every role of the user besides
	// Role. False asks for none, so that Role alone decides.
	AllSecondaryRoles bool
}

// Client names a driver as its login does (CLIENT_APP_ID, CLIENT_APP_VERSION).
type Client struct{ ID, Version string }

// Session is an open Snowflake session.
type Session struct {
	Token          secret.Text
	MasterToken    secret.Text
	SnowflakeID    int64
	Parameters     json.RawMessage // the login answer's list, as it came
	Info           snowflake.SessionInfo
	ServerVersion  string
	ValidFor       time.Duration // Token, from the answer on
	MasterValidFor time.Duration // MasterToken, likewise
}

type loginBody struct {
	Data loginData `json:"data"`
}

// loginData is written to the wire and nowhere else: it holds the secret as
// plain text.
type loginData struct {
	ClientAppID       string            `json:"CLIENT_APP_ID"`
	ClientAppVersion  string            `json:"CLIENT_APP_VERSION"`
	SVNRevision       string            `json:"SVN_REVISION"`
	AccountName       string            `json:"ACCOUNT_NAME"`
	LoginName         string            `json:"LOGIN_NAME,omitempty"`
	Password          string            `json:"PASSWORD,omitempty"`
	Authenticator     string            `json:"AUTHENTICATOR,omitempty"`
	Token             string            `json:"TOKEN,omitempty"`
	Provider          string            `json:"PROVIDER,omitempty"`
	SecondaryRoles    string            `json:"SECONDARY_ROLES,omitempty"`
	SessionParameters map[string]string `json:"SESSION_PARAMETERS,omitempty"`
	Environment       environment       `json:"CLIENT_ENVIRONMENT"`
}

type environment struct {
	Application string `json:"APPLICATION"`
	OS          string `json:"OS"`
	OSVersion   string `json:"OS_VERSION"`
}

// loginAnswer is snowflake.LoginAnswer with the parameters kept as they came.
type loginAnswer struct {
	snowflake.LoginAnswer
	Parameters json.RawMessage `json:"parameters"`
}

// Login opens a session at baseURL (see BaseURL). A refusal is a *LoginError;
// no usable answer matches ErrUnreachable. hc gives the transport; nil means
// http.DefaultTransport.
func Login(ctx context.Context, hc *http.Client, baseURL string, p Params, c Credential) (*Session, error) {
	if c == nil {
		return nil, errors.New("logging in to Snowflake: there is no credential")
	}
	if accountName(p.Account) == "" {
		return nil, errors.New("logging in to Snowflake: the account is empty")
	}
	query := url.Values{}
	for key, value := range map[string]string{
		"databaseName": p.Database, "schemaName": p.Schema, "warehouse": p.Warehouse, "roleName": p.Role,
	} {
		if value != "" {
			query.Set(key, value)
		}
	}
	answer, secrets, err := do(ctx, hc, baseURL, call{
		doing: "logging in to Snowflake",
		path:  snowflake.PathLogin,
		query: query,
		body: func() (any, []secret.Text, error) {
			pr, err := c.proof(p.Account, p.User, time.Now())
			if err != nil {
				return nil, nil, err
			}
			return loginBody{p.data(pr)}, pr.secrets(), nil
		},
	})
	if err != nil {
		return nil, err
	}
	if !answer.Success {
		code, message := refusal(answer, secrets)
		return nil, &LoginError{Code: code, Message: message}
	}
	var data loginAnswer
	if err := json.Unmarshal(answer.Data, &data); err != nil {
		return nil, fmt.Errorf("logging in to Snowflake: %w: the login answer cannot be read", ErrUnreachable)
	}
	// A master token may be missing: such a session cannot be renewed, only
	// replaced, and Renew says so.
	if data.Token == "" {
		return nil, fmt.Errorf("logging in to Snowflake: %w: the login answer has no session token", ErrUnreachable)
	}
	// An upstream that names no role or warehouse has taken what was asked for:
	// it refuses a login otherwise. A database may be missing for real.
	data.SessionInfo.Role = cmp.Or(data.SessionInfo.Role, p.Role)
	data.SessionInfo.Warehouse = cmp.Or(data.SessionInfo.Warehouse, p.Warehouse)
	return &Session{
		Token:          secret.New(data.Token),
		MasterToken:    secret.New(data.MasterToken),
		SnowflakeID:    data.SessionID,
		Parameters:     data.Parameters,
		Info:           data.SessionInfo,
		ServerVersion:  data.ServerVersion,
		ValidFor:       orDefault(data.ValidInSeconds, defaultValid),
		MasterValidFor: orDefault(data.MasterValidInSecs, defaultMasterValid),
	}, nil
}

// The lives of the tokens where a login answer does not say (what
// Snowflake gives otherwise).
const (
	defaultValid       = time.Hour
	defaultMasterValid = 4 * time.Hour
)

func orDefault(seconds int64, fallback time.Duration) time.Duration {
	if seconds <= 0 {
		return fallback
	}
	return time.Duration(seconds) * time.Second
}

func (p Params) data(pr proof) loginData {
	client := p.Client
	if client.ID == "" {
		client = Client{ID: "Go", Version: "2.1.0"}
	}
	app := p.Application
	if app == "" {
		app = "jit"
	}
	secondary := "NONE"
	if p.AllSecondaryRoles {
		secondary = "ALL"
	}
	return loginData{
		ClientAppID:       client.ID,
		ClientAppVersion:  client.Version,
		AccountName:       accountName(p.Account),
		LoginName:         strings.TrimSpace(p.User),
		Password:          pr.password.Reveal(),
		Authenticator:     pr.authenticator,
		Token:             pr.token.Reveal(),
		Provider:          pr.provider,
		SecondaryRoles:    secondary,
		SessionParameters: p.SessionParameters,
		Environment:       environment{Application: app, OS: runtime.GOOS, OSVersion: runtime.GOARCH},
	}
}

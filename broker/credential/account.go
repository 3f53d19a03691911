package credential

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jit-access/jit/session/loopback"
)

// accountName is an account identifier as login bodies and JWTs name it: upper
// case, without the region and cloud that a locator may carry
// (xy12345.eu-west-1.aws), or without the external id of a global one
// (xy12345-abc.global). The drivers do the same.
func accountName(account string) string {
	account = strings.ToUpper(strings.TrimSpace(account))
	if strings.Contains(account, ".GLOBAL") {
		name, _, _ := strings.Cut(account, "-")
		return name
	}
	name, _, _ := strings.Cut(account, ".")
	return name
}

// BaseURL is where an account's server is: https://ACCOUNT.snowflakecomputing.com,
// or .cn for the regions of China. Underscores become hyphens, as the drivers
// do, because a host name has none.
func BaseURL(account string) (string, error) {
	host := strings.ToLower(strings.TrimSpace(account))
	host = strings.ReplaceAll(host, "_", "-")
	if host == "" {
		return "", errors.New("the account is empty: give an account identifier such as myorg-myaccount")
	}
	for _, r := range host {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.') {
			return "", fmt.Errorf("account %q: an account identifier has letters, digits, hyphens, underscores and dots only", account)
		}
	}
	domain := ".snowflakecomputing.com"
	if strings.Contains(host, ".cn-") {
		domain = ".snowflakecomputing.cn"
	}
	return "https://" + host + domain, nil
}

// checkBase refuses a base URL that would carry a secret in the clear or to a
// place that is not plainly named.
func checkBase(baseURL string) (*url.URL, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		// url's error quotes its input, which may hold user:password.
		return nil, errors.New("the Snowflake URL is not a URL: give https://HOST")
	}
	switch {
	case u.Host == "" || u.Hostname() == "":
		return nil, errors.New("the Snowflake URL has no host: give https://HOST")
	case u.User != nil:
		return nil, errors.New("the Snowflake URL holds a user or password: give https://HOST alone")
	case u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("the Snowflake URL for %s has more than a host: give https://HOST alone", u.Host)
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback.Host(u.Hostname()):
	default:
		return nil, fmt.Errorf("refusing to log in to %s over %q: use https (plain http is for loopback only)", u.Host, u.Scheme)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

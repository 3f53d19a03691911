package loopback_test

import (
	"testing"

	"github.com/jit-access/jit/session/loopback"
)

func TestHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "127.0.0.1": true, "127.8.9.1": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "localhost.": false, "localhost.example.com": false, "127.0.0.1.example.com": false, "0.0.0.0": false,
		"::": false, "2130706433": false, "0x7f000001": false, "127.1": false, "0177.0.0.1": false, "[::1]": false, "10.0.0.1": false,
	} {
		if got := loopback.Host(host); got != want {
			t.Errorf("Host(%q) = %v, want %v", host, got, want)
		}
	}
}

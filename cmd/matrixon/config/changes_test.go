package config

import (
	"reflect"
	"slices"
	"testing"
)

func TestChanged(t *testing.T) {
	t.Parallel()
	load := func(set ...string) *Config {
		t.Helper()
		c, err := Load(Sources{Set: set})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := load()
	if got := Changed(a, load()); len(got) > 0 {
		t.Errorf("a configuration differs from itself in %v", got)
	}
	b := load("logging.level=debug", "limits.message.burst=3", "registration.tokens=[a]", "registration.shared_secret=s", "session.access_token_lifetime=7m",
		"trusted_proxies=[10.0.0.0/8]", "cluster.weight=2")
	want := []string{"cluster.weight", "limits.message.burst", "logging.level", "registration.shared_secret", "registration.tokens",
		"session.access_token_lifetime", "trusted_proxies"}
	if got := Changed(a, b); !slices.Equal(got, want) {
		t.Errorf("changed: %v, not %v", got, want)
	}
	if other := load("registration.shared_secret=t"); !slices.Equal(Changed(load("registration.shared_secret=s"), other), []string{"registration.shared_secret"}) {
		t.Error("a secret that is another one counts as the same")
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{"logging.level": true, "logging.format": false, "limits.message.burst": true, "registration.open": true,
		"cluster.weight": true, "cluster.node": false, "policy_server.rate.burst": true, "policy_server.enabled": false, "server_name": false, "limitsy": false} {
		if Live(key) != want {
			t.Errorf("%s can change while the server runs: %v", key, !want)
		}
	}
	// Each is a key that there is.
	for _, key := range live {
		c, err := Load(Sources{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(allKeys(reflect.TypeOf(*c), ""), func(k string) bool { return k == key }) {
			t.Errorf("there is no key %s", key)
		}
	}
}

func allKeys(t reflect.Type, above string) []string {
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		keys = append(keys, above+f.Tag.Get("yaml"))
		if f.Type.Kind() == reflect.Struct && f.Tag.Get("yaml") != "" {
			keys = append(keys, allKeys(f.Type, above+f.Tag.Get("yaml")+".")...)
		}
	}
	return keys
}

package client_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/persistence/schema"
)

// phone is the body of a pusher.
func phone(pushkey string, more m) m {
	body := m{
		"kind": "http", "app_id": "org.example.app", "pushkey": pushkey, "app_display_name": "App", "device_display_name": "Phone",
		"lang": "en", "data": m{"url": "https://push.example.org/_matrix/push/v1/notify", "format": "event_id_only", "brand": "x"},
	}
	for k, v := range more {
		if v == nil {
			delete(body, k)
			continue
		}
		body[k] = v
	}
	return body
}

func (s *server) setPusher(p person, body m) answer {
	s.t.Helper()
	return s.v3("POST", "/pushers/set", p.token, body)
}

func (s *server) pushkeys(p person) string {
	s.t.Helper()
	rows, err := account.Pushers(context.Background(), s.store, p.id)
	if err != nil {
		s.t.Fatal(err)
	}
	keys := make([]string, len(rows))
	for i, row := range rows {
		keys[i] = row.Pushkey
	}
	return strings.Join(keys, " ")
}

func TestPushers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	if got := s.v3("GET", "/pushers", p.token, nil).ok(); got.raw != `{"pushers":[]}` {
		t.Errorf("%s", got.raw)
	}
	s.setPusher(p, phone("k1", m{"profile_tag": "day"})).ok()
	want := `{"pushers":[{"pushkey":"k1","kind":"http","app_id":"org.example.app","app_display_name":"App","device_display_name":"Phone","profile_tag":"day","lang":"en",` +
		`"data":{"brand":"x","format":"event_id_only","url":"https://push.example.org/_matrix/push/v1/notify"},` +
		`"org.matrix.msc3881.enabled":true,"org.matrix.msc3881.device_id":"` + p.device + `"}]}`
	if got := s.v3("GET", "/pushers", p.token, nil).ok(); got.raw != want {
		t.Errorf("%s", got.raw)
	}
	s.setPusher(p, phone("k1", m{"lang": "de"})).ok()
	s.setPusher(p, phone("k2", nil)).ok()
	if got := s.pushkeys(p); got != "k1 k2" {
		t.Errorf("pushers %s", got)
	}
	s.setPusher(p, m{"kind": nil, "app_id": "org.example.app", "pushkey": "k1"}).ok()
	s.setPusher(p, m{"kind": nil, "app_id": "org.example.app", "pushkey": "never"}).ok()
	if got := s.pushkeys(p); got != "k2" {
		t.Errorf("pushers %s", got)
	}
	if has(s, schema.PushersByKey, schema.PusherByKey{AppID: "org.example.app", Pushkey: "k1"}, 2) {
		t.Error("the removed pusher is still found by its key")
	}
	for _, name := range []string{"disable_badge_count", "org.matrix.msc4076.disable_badge_count"} {
		s.setPusher(p, phone("k2", m{name: true})).ok()
		if got := s.v3("GET", "/pushers", p.token, nil).ok(); !strings.Contains(got.raw, `"disable_badge_count":true`) {
			t.Errorf("%s", got.raw)
		}
	}
	s.v3("GET", "/pushers", "", nil).refused(401, "M_MISSING_TOKEN")
}

func TestPushersThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	url := func(u string) m { return m{"data": m{"url": u}} }
	for name, c := range map[string]struct {
		change m
		code   string
	}{
		"no kind":          {m{"kind": nil}, "M_MISSING_PARAM"},
		"no app id":        {m{"app_id": nil}, "M_MISSING_PARAM"},
		"no pushkey":       {m{"pushkey": nil}, "M_MISSING_PARAM"},
		"no language":      {m{"lang": nil}, "M_MISSING_PARAM"},
		"no data":          {m{"data": nil}, "M_MISSING_PARAM"},
		"no names":         {m{"app_display_name": nil, "device_display_name": nil}, "M_MISSING_PARAM"},
		"another kind":     {m{"kind": "pigeon"}, "M_INVALID_PARAM"},
		"kind no string":   {m{"kind": 3}, "M_BAD_JSON"},
		"long app id":      {m{"app_id": strings.Repeat("a", 65)}, "M_INVALID_PARAM"},
		"empty app id":     {m{"app_id": ""}, "M_INVALID_PARAM"},
		"long pushkey":     {m{"pushkey": strings.Repeat("a", 513)}, "M_INVALID_PARAM"},
		"NUL":              {m{"pushkey": "a\x00b"}, "M_INVALID_PARAM"},
		"pushkey a number": {m{"pushkey": 1}, "M_BAD_JSON"},
		"append a string":  {m{"append": "yes"}, "M_BAD_JSON"},
		"data a list":      {m{"data": []int{}}, "M_BAD_JSON"},
		"data too large":   {m{"data": m{"url": "https://x.org/_matrix/push/v1/notify", "x": strings.Repeat("a", 17<<10)}}, "M_INVALID_PARAM"},
		"no url":           {m{"data": m{}}, "M_MISSING_PARAM"},
		"url a number":     {m{"data": m{"url": 1}}, "M_BAD_JSON"},
		"another format":   {m{"data": m{"url": "https://x.org/_matrix/push/v1/notify", "format": "everything"}}, "M_INVALID_PARAM"},
		"another path":     {url("https://push.example.org/notify"), "M_INVALID_PARAM"},
		"no TLS":           {url("http://push.example.org/_matrix/push/v1/notify"), "M_INVALID_PARAM"},
		"no web":           {url("file:///_matrix/push/v1/notify"), "M_INVALID_PARAM"},
		"a password":       {url("https://a:b@push.example.org/_matrix/push/v1/notify"), "M_INVALID_PARAM"},
		"no email here":    {m{"kind": "email", "app_id": "m.email", "pushkey": "a@example.org"}, "M_INVALID_PARAM"},
	} {
		if got := s.setPusher(p, phone("k", c.change)); got.status != 400 || got.body["errcode"] != c.code {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	s.v3("POST", "/pushers/set", p.token, "[]").refused(400, "M_BAD_JSON")
	for i := range 50 {
		s.setPusher(p, phone(fmt.Sprint("k", i), nil)).ok()
	}
	s.setPusher(p, phone("one too many", nil)).refused(400, "M_UNKNOWN")
	s.setPusher(p, phone("k7", m{"lang": "fr"})).ok()
}

func TestAPrivateGatewayNeedsNoTLS(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *setup) {
		c.account.Push = client.PushOptions{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	})
	s.setPusher(s.register("alice"), phone("k", m{"data": m{"url": "http://127.0.0.9:1/_matrix/push/v1/notify"}})).ok()
}

// Whoever uses the phone now has its pusher, unless a client asks for both (append).
func TestPusherOfAnotherUserWithTheSameKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	alice, bob := s.register("alice"), s.register("bob")
	s.setPusher(alice, phone("k", nil)).ok()
	s.setPusher(alice, phone("other", nil)).ok()
	s.setPusher(bob, phone("k", m{"append": true})).ok()
	if got := s.pushkeys(alice); got != "k other" {
		t.Errorf("append took %s away", got)
	}
	s.setPusher(bob, phone("k", nil)).ok()
	if a, b := s.pushkeys(alice), s.pushkeys(bob); a != "other" || b != "k" {
		t.Errorf("alice has %s, bob %s", a, b)
	}
}

func TestPusherIsTurnedOffFromAnotherDevice(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	laptop := person{id: p.id, token: s.login(p, m{"device_id": "LAPTOP"}).ok().text("access_token"), device: "LAPTOP"}
	s.setPusher(p, phone("k", nil)).ok()
	s.setPusher(laptop, phone("k", m{"org.matrix.msc3881.enabled": false})).ok()
	got := s.v3("GET", "/pushers", laptop.token, nil).ok().raw
	if !strings.Contains(got, `"org.matrix.msc3881.enabled":false,"org.matrix.msc3881.device_id":"`+p.device+`"`) {
		t.Errorf("%s", got)
	}
	// A pusher that is set anew belongs to whoever set it.
	s.setPusher(laptop, phone("k", m{"lang": "fr"})).ok()
	got = s.v3("GET", "/pushers", laptop.token, nil).ok().raw
	if !strings.Contains(got, `"org.matrix.msc3881.enabled":true,"org.matrix.msc3881.device_id":"LAPTOP"`) {
		t.Errorf("%s", got)
	}
	if features := s.do("GET", "/_matrix/client/versions", "", nil).ok().raw; !strings.Contains(features, `"org.matrix.msc3881":true`) {
		t.Errorf("%s", features)
	}
}

// A pusher ends with the session that made it, whichever way that ends.
func TestPushersGoWithTheirDevice(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.register("alice")
	session := func(device string) person {
		return person{p.id, s.login(p, m{"device_id": device}).ok().text("access_token"), device}
	}
	phone1, phone2, tablet := session("PHONE1"), session("PHONE2"), session("TABLET")
	for _, d := range []person{p, phone1, phone2, tablet} {
		s.setPusher(d, phone(d.device, nil)).ok()
	}
	s.v3("POST", "/logout", phone1.token, nil).ok()
	if got := s.pushkeys(p); strings.Contains(got, "PHONE1") || !strings.Contains(got, "PHONE2") {
		t.Errorf("after a logout: %s", got)
	}
	s.prove("DELETE", "/_matrix/client/v3/devices/PHONE2", p, m{}).ok()
	if got := s.pushkeys(p); strings.Contains(got, "PHONE2") {
		t.Errorf("after a device was deleted: %s", got)
	}
	s.prove("POST", "/_matrix/client/v3/account/password", p, m{"new_password": pass, "logout_devices": false}).ok()
	if got := s.pushkeys(p); !strings.Contains(got, "TABLET") {
		t.Errorf("after a change of the password that logs nobody out: %s", got)
	}
	s.prove("POST", "/_matrix/client/v3/account/password", p, m{"new_password": pass}).ok()
	if got := s.pushkeys(p); got != p.device {
		t.Errorf("after a change of the password: %s", got)
	}
	s.prove("POST", "/_matrix/client/v3/account/deactivate", p, m{}).ok()
	if got := s.pushkeys(p); got != "" {
		t.Errorf("after the end of the account: %s", got)
	}
	if has(s, schema.PushersByKey, schema.PusherByKey{}, 0) {
		t.Error("a pusher is still found by its key")
	}
}

package id

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// long is a text of n bytes.
func long(n int) string { return strings.Repeat("a", n) }

func TestServerNames(t *testing.T) {
	t.Parallel()
	type parts struct {
		host string
		port int
	}
	for s, want := range map[string]parts{
		"matrix.org":                   {"matrix.org", 0},
		"matrix.org:8888":              {"matrix.org", 8888},
		"1.2.3.4":                      {"1.2.3.4", 0},
		"1.2.3.4:1234":                 {"1.2.3.4", 1234},
		"[1234:5678::abcd]":            {"[1234:5678::abcd]", 0},
		"[1234:5678::abcd]:5678":       {"[1234:5678::abcd]", 5678},
		"[::]":                         {"[::]", 0},
		"[::1]:1":                      {"[::1]", 1},
		"[::FFFF:1.2.3.4]":             {"[::FFFF:1.2.3.4]", 0},
		"localhost":                    {"localhost", 0},
		"MATRIX.org":                   {"MATRIX.org", 0}, // names differ by case
		"a":                            {"a", 0},
		"xn--bcher-kva.example-1.org.": {"xn--bcher-kva.example-1.org.", 0},
		"host:65535":                   {"host", 65535},
		"host:08448":                   {"host", 8448},
		long(255):                      {long(255), 0},
		long(255) + ":8448":            {long(255), 8448},
	} {
		host, port, err := ParseServerName(s)
		if err != nil || host != want.host || port != want.port || !ValidServerName(s) {
			t.Errorf("%q: %q, %d, %v", s, host, port, err)
		}
	}
	for _, s := range []string{
		"", ":", ":80", "host:", "host:0", "host:00000", "host:65536", "host:99999", "host:123456", "host:8448 ", "host:+80", "host:-1", "host:8a", "host:80:80", "host:٣",
		"ho_st", "ho st", " host", "host\n", "host/", "host\x00", "ho@st", "höst", "host\xff", "*", "matrix.org/x", "https://matrix.org",
		"[", "[]", "[]:80", "[::1", "::1", "1234:5678::abcd", "[::1]x", "[::1]:", "[::1]8448", "[::1]:x", "[1.2.3.4]", "[host]", "[::1%eth0]", "[fe80::1%251]", "[:::]", "[1:2:3:4:5:6:7:8:9]", "[12345::]", "[ ::1]", "x[::1]", "[[::1]]", "[" + long(60) + "]",
		long(256), long(256) + ":80",
	} {
		if host, port, err := ParseServerName(s); !errors.Is(err, ErrServerName) || ValidServerName(s) {
			t.Errorf("%q is accepted as %q, %d (%v)", s, host, port, err)
		}
	}
}

func TestUsersAndAliases(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string]error{
		"alice:example.org":          nil,
		"a.b_c=d-e/f+g1:example.org": nil,
		"alice:example.org:8448":     nil,
		"alice:[::1]:8448":           nil,
		"alice:1.2.3.4":              nil,
		":example.org":               nil, // historical ids may have an empty localpart
		"Alice:example.org":          nil,
		"älice 😀\x01\n\x7f!@#$:d":    nil,
		"alice":                      ErrNoServer,
		"":                           ErrNoServer,
		"alice:":                     ErrServerName,
		":":                          ErrServerName,
		"alice:bob:example.org":      ErrServerName,
		"alice:exa mple.org":         ErrServerName,
		"alice:[::1":                 ErrServerName,
		"a\x00b:example.org":         ErrLocalpart,
		"a\xffb:example.org":         ErrLocalpart,
		"a\xed\xa0\x80b:example.org": ErrLocalpart, // a surrogate
		long(242) + ":example.org":   nil,          // 255 bytes with the sigil
		long(243) + ":example.org":   ErrLength,
		strings.Repeat("é", 121) + ":example.org": nil,
		strings.Repeat("é", 122) + ":example.org": ErrLength, // bytes, not characters
	} {
		wantLocalpart, wantServer, _ := strings.Cut(rest, ":")
		if want != nil {
			wantLocalpart, wantServer = "", ""
		}
		localpart, server, err := ParseUser("@" + rest)
		if !errors.Is(err, want) || localpart != wantLocalpart || server != wantServer || ValidUser("@"+rest) != (want == nil) {
			t.Errorf("user %q: %q, %q, %v; want %v", rest, localpart, server, err, want)
		}
		localpart, server, err = ParseAlias("#" + rest)
		if !errors.Is(err, want) || localpart != wantLocalpart || server != wantServer {
			t.Errorf("alias %q: %q, %q, %v; want %v", rest, localpart, server, err, want)
		}
	}
	for _, s := range []string{"", "alice:example.org", "#alice:example.org", "!alice:example.org", " @alice:example.org", "＠alice:example.org"} {
		if _, _, err := ParseUser(s); !errors.Is(err, ErrSigil) {
			t.Errorf("user %q: %v", s, err)
		}
	}
	if _, _, err := ParseAlias("@alice:example.org"); !errors.Is(err, ErrSigil) {
		t.Errorf("a user id as alias: %v", err)
	}
}

func TestNewLocalparts(t *testing.T) {
	t.Parallel()
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789._=-/+"
	for c := range 256 {
		if s := string([]byte{byte(c)}); ValidNewLocalpart(s) != strings.Contains(allowed, s) || ValidNewLocalpart("a"+s+"b") != strings.Contains(allowed, s) {
			t.Errorf("the byte %q: %v", s, ValidNewLocalpart(s))
		}
	}
	for s, want := range map[string]bool{"": false, allowed: true, "é": false, "alice": true, "Alice": false} {
		if ValidNewLocalpart(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func TestServerOf(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"@alice:example.org": "example.org", "#a:[::1]:80": "[::1]:80", "@:d": "d", "@alice": "", "": "", "$hash": "", "$x:d:1": "d:1"} {
		if got := ServerOf(s); got != want {
			t.Errorf("%q: %q", s, got)
		}
	}
}

// Room ids and event ids are opaque, with a domain (rooms up to version 11, events of versions 1 and 2) or without.
func TestRoomsAndEvents(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string]bool{
		"abc:example.org": true,
		"abc":             true,
		"acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk": true, // version 3
		"Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg": true, // version 4 and later; room ids of version 12
		":":                        true,
		"a b\x01é😀:d:80":           true,
		long(254):                  true,
		"":                         false,
		long(255):                  false,
		strings.Repeat("é", 127):   true,
		strings.Repeat("é", 128):   false,
		"a\x00:example.org":        false,
		"\xff:example.org":         false,
		"\xed\xbf\xbf:example.org": false,
	} {
		if ValidRoomID("!"+rest) != want || ValidEventID("$"+rest) != want {
			t.Errorf("%q: as room %v, as event %v, want %v", rest, ValidRoomID("!"+rest), ValidEventID("$"+rest), want)
		}
		for _, other := range []string{"", "@", "#", " "} {
			if ValidRoomID(other+rest) || ValidEventID(other+rest) || ValidRoomID("$"+rest) || ValidEventID("!"+rest) {
				t.Errorf("%q is accepted with a wrong sigil, or none", rest)
			}
		}
	}
}

func TestOpaqueAndNamespaced(t *testing.T) {
	t.Parallel()
	const (
		lower    = "abcdefghijklmnopqrstuvwxyz"
		digits   = "0123456789"
		opaque   = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + digits + "-._~"
		inside   = lower + digits + "-_."
		notFirst = digits + "-_."
	)
	for c := range 256 {
		s := string([]byte{byte(c)})
		if got := ValidOpaque(s); got != strings.Contains(opaque, s) || ValidOpaque("x"+s+"x") != got {
			t.Errorf("opaque: the byte %q: %v", s, got)
		}
		if got := ValidNamespaced("m" + s); got != strings.Contains(inside, s) {
			t.Errorf("namespaced: the byte %q: %v", s, got)
		}
		if got := ValidNamespaced(s); got != strings.Contains(lower, s) || got && strings.Contains(notFirst, s) {
			t.Errorf("namespaced: the first byte %q: %v", s, got)
		}
	}
	for name, valid := range map[string]func(string) bool{"opaque": ValidOpaque, "namespaced": ValidNamespaced} {
		if valid("") || !valid(long(255)) || valid(long(256)) || valid("é") || !valid("org.example.thing") {
			t.Errorf("%s: lengths or examples are wrong", name)
		}
	}
}

func TestKeyIDs(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][2]string{
		"ed25519:1":                      {"ed25519", "1"},
		"ed25519:a_b12":                  {"ed25519", "a_b12"},
		"signed_curve25519:AAAAHQ":       {"signed_curve25519", "AAAAHQ"},
		"ed25519:JLAFKJWSCS":             {"ed25519", "JLAFKJWSCS"}, // of a device
		"ed25519:my device: the old one": {"ed25519", "my device: the old one"},
		"x:" + long(253):                 {"x", long(253)},
	} {
		if algorithm, name, ok := ParseKeyID(s); !ok || algorithm != want[0] || name != want[1] {
			t.Errorf("%q: %q, %q, %v", s, algorithm, name, ok)
		}
	}
	for _, s := range []string{"", ":", "ed25519", "ed25519:", ":1", "x:" + long(254)} {
		if _, _, ok := ParseKeyID(s); ok {
			t.Errorf("%q is accepted", s)
		}
	}
}

// What the grammar makes is accepted and comes apart into what it was made of.
func TestGrammarIsAccepted(t *testing.T) {
	t.Parallel()
	server := rapid.StringMatching(`([0-9A-Za-z.-]{1,60}|[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\]|\[::([0-9a-f]{1,4})?\])(:[1-9][0-9]{0,3})?`)
	rapid.Check(t, func(rt *rapid.T) {
		name := server.Draw(rt, "server")
		if !ValidServerName(name) {
			rt.Fatalf("the server name %q is refused", name)
		}
		localpart := rapid.StringMatching(`[a-z0-9._=/+-]{1,80}`).Draw(rt, "localpart")
		if !ValidNewLocalpart(localpart) {
			rt.Fatalf("the localpart %q is refused", localpart)
		}
		historical := rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return r != ':' && r != 0 }), 0, 30, 100).Draw(rt, "historical")
		for _, l := range []string{localpart, historical} {
			gotLocalpart, gotServer, err := ParseUser("@" + l + ":" + name)
			if err != nil || gotLocalpart != l || gotServer != name {
				rt.Fatalf("@%s:%s comes apart into %q and %q: %v", l, name, gotLocalpart, gotServer, err)
			}
			if ServerOf("@"+l+":"+name) != name {
				rt.Fatalf("the server of @%s:%s is %q", l, name, ServerOf("@"+l+":"+name))
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"@alice:example.org", "#room:[::1]:8448", "!opaque", "$event", "ed25519:1", "[::1]:80", "1.2.3.4:5", "@:", "", "@\xff:d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if localpart, server, err := ParseUser(s); err == nil && ("@"+localpart+":"+server != s || len(s) > MaxLength || !ValidServerName(server)) {
			t.Fatalf("the user %q comes apart into %q and %q", s, localpart, server)
		}
		if localpart, server, err := ParseAlias(s); err == nil && ("#"+localpart+":"+server != s || len(s) > MaxLength || !ValidServerName(server)) {
			t.Fatalf("the alias %q comes apart into %q and %q", s, localpart, server)
		}
		if host, port, err := ParseServerName(s); err == nil && (!strings.HasPrefix(s, host) || (port == 0) != (s == host) || port < 0 || port > 65535) {
			t.Fatalf("the server name %q comes apart into %q and %d", s, host, port)
		}
		if algorithm, name, ok := ParseKeyID(s); ok && algorithm+":"+name != s {
			t.Fatalf("the key id %q comes apart into %q and %q", s, algorithm, name)
		}
		if (ValidRoomID(s) || ValidEventID(s) || ValidOpaque(s) || ValidNamespaced(s)) && len(s) > MaxLength {
			t.Fatalf("%q is longer than an identifier may be", s)
		}
	})
}

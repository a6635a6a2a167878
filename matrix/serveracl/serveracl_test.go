package serveracl

import "testing"

// HARD_PLACES.md 34: what a server ACL says.
func TestAllows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		content string
		allowed []string
		denied  []string
	}{
		{`{"allow":["*"]}`, []string{"a.org", "a.org:8448", "1.2.3.4", "[::1]:8448"}, nil},
		{`{}`, nil, []string{"a.org", "1.2.3.4"}},
		{`{"allow":"*"}`, nil, []string{"a.org"}},
		{`{"allow":["*",7,null]}`, []string{"a.org"}, nil},
		{`{"allow":["*"],"deny":["evil.com"]}`, []string{"notevil.com", "evil.com.org", "sub.evil.com"}, []string{"evil.com", "evil.com:8448", "evil.com:1234", "EVIL.com"}},
		{`{"allow":["*"],"deny":["*.evil.com"]}`, []string{"evil.com"}, []string{"a.evil.com", "a.b.EVIL.COM:1"}},
		{`{"allow":["*.Example.org","b.or?"]}`, []string{"a.example.ORG", "b.org"}, []string{"example.org", "b.or", "c.org"}},
		{`{"allow":["*"],"deny":["a.org"],"allow_ip_literals":true}`, []string{"1.2.3.4"}, []string{"a.org"}},
		{`{"allow":["*"],"allow_ip_literals":false}`, []string{"a.org", "1.2.3.4.org"}, []string{"1.2.3.4", "1.2.3.4:8448", "[::1]", "[2001:db8::1]:8448"}},
		{`{"allow":["*"],"allow_ip_literals":"false"}`, []string{"1.2.3.4"}, nil},
		{`{"allow":["[::1]","1.2.3.*"]}`, []string{"[::1]:8448", "1.2.3.4:1"}, []string{"[::2]", "1.2.4.4"}},
		{`{"allow":["a.org"],"deny":["a.org"]}`, nil, []string{"a.org"}},
		{`[]`, nil, []string{"a.org"}},
	} {
		l := Parse([]byte(c.content))
		for _, server := range c.allowed {
			if !l.Allows(server) {
				t.Errorf("%s keeps out %s", c.content, server)
			}
		}
		for _, server := range c.denied {
			if l.Allows(server) {
				t.Errorf("%s lets in %s", c.content, server)
			}
		}
	}
}

// A room without the event lets all in.
func TestNoList(t *testing.T) {
	t.Parallel()
	var l *List
	if !l.Allows("a.org") {
		t.Error("kept out")
	}
}

// Package serveracl decides which servers a room keeps out (client-server API, "m.room.server_acl"; server-server API, "Server Access
// Control Lists (ACLs)").
package serveracl

import (
	"net/netip"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/glob"
)

// List is the content of an m.room.server_acl event, made ready.
type List struct {
	allow, deny []*glob.Glob
	literals    bool // servers named by an IP address may be allowed
}

// Parse reads the content. What is not of the type that it should be counts as missing, so a content without a list of allowed servers
// keeps all out, as the specification warns.
func Parse(content []byte) *List {
	l := &List{literals: true}
	fields := gjson.ParseBytes(content)
	if v := fields.Get("allow_ip_literals"); v.IsBool() {
		l.literals = v.Bool()
	}
	l.allow, l.deny = globs(fields.Get("allow")), globs(fields.Get("deny"))
	return l
}

func globs(list gjson.Result) []*glob.Glob {
	if !list.IsArray() {
		return nil
	}
	var all []*glob.Glob
	list.ForEach(func(_, v gjson.Result) bool {
		if v.Type == gjson.String {
			all = append(all, glob.New(v.Str))
		}
		return true
	})
	return all
}

// Allows reports whether the server may take part in the room. Its port does not count. A nil list, of a room without one, allows all.
func (l *List) Allows(server string) bool {
	if l == nil {
		return true
	}
	host := Host(server)
	if !l.literals && isLiteral(host) {
		return false
	}
	return !matches(l.deny, host) && matches(l.allow, host)
}

func matches(patterns []*glob.Glob, host string) bool {
	for _, p := range patterns {
		if p.Whole(host) {
			return true
		}
	}
	return false
}

// Host is the server name without its port (appendices, "Server Name").
func Host(server string) string {
	if end := strings.LastIndexByte(server, ']'); strings.HasPrefix(server, "[") && end > 0 {
		return server[:end+1]
	}
	host, _, _ := strings.Cut(server, ":")
	return host
}

func isLiteral(host string) bool {
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

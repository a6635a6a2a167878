// Package xmatrix is how homeservers sign their requests to each other (server-server API, "Request Authentication"): what is signed,
// and the Authorization header that carries the signature.
package xmatrix

import (
	"errors"
	"strings"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
)

// Scheme is the authentication scheme of the Authorization header.
const Scheme = "X-Matrix"

// Signed gives the bytes that are signed. The URI is the escaped path and query as it is sent; content is the JSON body, nil when there
// is none. Numbers of any kind are accepted, because transactions carry events of old room versions.
func Signed(method, uri, origin, destination string, content []byte) ([]byte, error) {
	raw := make([]byte, 0, len(content)+len(uri)+len(origin)+len(destination)+128)
	raw = append(raw, '{')
	if content != nil {
		raw = append(append(append(raw, `"content":`...), content...), ',')
	}
	for _, member := range [...]struct{ name, value string }{
		{"destination", destination}, {"method", method}, {"origin", origin}, {"uri", uri},
	} {
		raw = canonicaljson.AppendString(raw, member.name)
		raw = append(raw, ':')
		raw = append(canonicaljson.AppendString(raw, member.value), ',')
	}
	raw[len(raw)-1] = '}'
	return canonicaljson.Canonicalize(nil, raw, canonicaljson.Options{})
}

// Header is the value of an Authorization header.
type Header struct {
	Origin string
	// Destination is empty when an older server has sent the header.
	Destination string
	Key         string // the id of the key that signed
	Signature   string // base64
}

// String writes the header as old servers read it too.
func (h Header) String() string {
	return Scheme + ` origin="` + h.Origin + `",destination="` + h.Destination + `",key="` + h.Key + `",sig="` + h.Signature + `"`
}

// ErrScheme says that a header is of another authentication scheme.
var ErrScheme = errors.New("xmatrix: the authentication scheme is not X-Matrix")

var errSyntax = errors.New("xmatrix: the X-Matrix header is not a list of name=value pairs with origin, key and sig")

// Parse reads a header: names in any order and case, values quoted or not, unquoted ones with any characters that end no value. Unknown
// parameters are ignored; one that stands twice is refused.
func Parse(value string) (h Header, err error) {
	scheme, rest, _ := strings.Cut(strings.TrimLeft(value, " \t"), " ")
	if !strings.EqualFold(scheme, Scheme) {
		return h, ErrScheme
	}
	seen := map[string]string{}
	for rest = skip(rest); rest != ""; rest = skip(rest) {
		if rest[0] == ',' { // RFC 9110, section 5.6.1: a recipient ignores empty elements
			rest = rest[1:]
			continue
		}
		name, after, ok := strings.Cut(rest, "=")
		name = strings.ToLower(strings.TrimRight(name, " \t"))
		if !ok || name == "" || strings.ContainsAny(name, " \t,\"") {
			return h, errSyntax
		}
		var text string
		if text, rest, ok = parameter(skip(after)); !ok {
			return h, errSyntax
		}
		if _, twice := seen[name]; twice {
			return h, errSyntax
		}
		seen[name] = text
		if rest = skip(rest); rest != "" && rest[0] != ',' {
			return h, errSyntax
		}
	}
	h = Header{Origin: seen["origin"], Destination: seen["destination"], Key: seen["key"], Signature: seen["sig"]}
	if h.Signature == "" {
		h.Signature = seen["signature"] // the specification's list of parameters calls it so
	}
	if h.Origin == "" || h.Key == "" || h.Signature == "" {
		return h, errSyntax
	}
	return h, nil
}

func skip(s string) string { return strings.TrimLeft(s, " \t") }

// parameter reads a value, quoted or not, and gives what follows it.
func parameter(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		end := strings.IndexAny(s, ", \t\"")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

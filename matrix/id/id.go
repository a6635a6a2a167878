// Package id knows the grammars of identifiers (appendices, "Identifier Grammar"). Identifiers are plain strings;
// these functions say whether one is well formed, and take apart those that have parts.
package id

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxLength bounds every identifier, in bytes, its sigil included.
const MaxLength = 255

// What is wrong with an identifier; the text is for people.
var (
	ErrSigil      = errors.New("it does not begin with the right sigil")
	ErrLength     = errors.New("it is longer than 255 bytes")
	ErrNoServer   = errors.New("it has no server name")
	ErrServerName = errors.New("its server name is not a valid one")
	ErrLocalpart  = errors.New("its localpart holds characters that are not allowed")
)

// ParseUser takes a user id apart. Historical ids, with any characters but ':' and NUL in the localpart, and even an empty one, are
// accepted, because rooms hold them; use ValidNewLocalpart for new accounts.
func ParseUser(s string) (localpart, server string, err error) {
	return parse(s, '@')
}

// ParseAlias takes a room alias apart.
func ParseAlias(s string) (localpart, server string, err error) { return parse(s, '#') }

func parse(s string, sigil byte) (localpart, server string, err error) {
	switch {
	case s == "" || s[0] != sigil:
		return "", "", ErrSigil
	case len(s) > MaxLength:
		return "", "", ErrLength
	}
	localpart, server, ok := strings.Cut(s[1:], ":")
	switch {
	case !ok:
		return "", "", ErrNoServer
	case !ValidServerName(server):
		return "", "", ErrServerName
	case strings.ContainsRune(localpart, 0) || !utf8.ValidString(localpart):
		return "", "", ErrLocalpart
	}
	return localpart, server, nil
}

// ValidUser reports whether s is a user id, historical ones included.
func ValidUser(s string) bool {
	_, _, err := ParseUser(s)
	return err == nil
}

// ValidNewLocalpart reports whether a new account may have this localpart: one or more of a-z, 0-9 and ._=-/+.
func ValidNewLocalpart(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("._=-/+", c) >= 0) {
			return false
		}
	}
	return true
}

// ServerOf gives the server name of a user id or alias, "" if there is none. Room ids are opaque: never ask this of one.
func ServerOf(s string) string {
	_, server, _ := strings.Cut(s, ":")
	return server
}

// ValidRoomID reports whether s is a room id: '!' and an opaque rest, with a domain (up to room version 11) or without.
func ValidRoomID(s string) bool { return validOpaque(s, '!') }

// ValidEventID reports whether s is an event id of any room version: '$' and an opaque rest.
func ValidEventID(s string) bool { return validOpaque(s, '$') }

func validOpaque(s string, sigil byte) bool {
	return len(s) > 1 && len(s) <= MaxLength && s[0] == sigil && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// ValidOpaque reports whether s is an opaque identifier: 1 to 255 of the unreserved characters of URIs.
func ValidOpaque(s string) bool {
	if s == "" || len(s) > MaxLength {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !alphanumeric(c) && strings.IndexByte("-._~", c) < 0 {
			return false
		}
	}
	return true
}

// ValidNamespaced reports whether s is a common namespaced identifier: 1 to 255 of a-z, 0-9, '-', '_' and '.', beginning with a letter.
func ValidNamespaced(s string) bool {
	if s == "" || len(s) > MaxLength || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-_.", c) >= 0) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// ParseServerName takes a server name apart: a DNS name, an IPv4 address or an IPv6 address in brackets, and an optional port
// from 1 to 65535 (port is 0 without one). The name of a host has up to 255 bytes; that server names should not exceed 230 is
// advice to those who choose one.
func ParseServerName(s string) (host string, port int, err error) {
	if s == "" {
		return "", 0, ErrServerName
	}
	host, rest := s, ""
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, ErrServerName
		}
		host, rest = s[:end+1], s[end+1:]
		if a, err := netip.ParseAddr(host[1:end]); err != nil || !a.Is6() || a.Zone() != "" {
			return "", 0, ErrServerName
		}
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, rest = s[:i], s[i:]
		}
		if !validDNSName(host) {
			return "", 0, ErrServerName
		}
	}
	if rest == "" {
		return host, 0, nil
	}
	digits, ok := strings.CutPrefix(rest, ":")
	if !ok || len(digits) < 1 || len(digits) > 5 || strings.Trim(digits, "0123456789") != "" {
		return "", 0, ErrServerName
	}
	if port, err = strconv.Atoi(digits); err != nil || port < 1 || port > 65535 {
		return "", 0, ErrServerName
	}
	return host, port, nil
}

func validDNSName(s string) bool {
	if s == "" || len(s) > MaxLength {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !alphanumeric(c) && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// ValidServerName reports whether s is a server name.
func ValidServerName(s string) bool {
	_, _, err := ParseServerName(s)
	return err == nil
}

// ParseKeyID takes a key id such as ed25519:abc apart.
func ParseKeyID(s string) (algorithm, name string, ok bool) {
	algorithm, name, ok = strings.Cut(s, ":")
	return algorithm, name, ok && algorithm != "" && name != "" && len(s) <= MaxLength
}

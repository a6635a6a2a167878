// Package appservice is what an application service is registered with, and what follows from it: which users, aliases and
// rooms it has to do with, and which are reserved to it (application service API, "Registration").
package appservice

import (
	"regexp"
	"slices"
	"strings"

	"github.com/matrixon/matrixon/matrix/id"
)

// Token is a secret of a registration. It is never printed: its String, and with it every format and log, shows a mask.
type Token string

// String is a mask.
func (t Token) String() string {
	if t == "" {
		return ""
	}
	return "********"
}

// GoString is String, so that %#v shows no secret either.
func (t Token) GoString() string { return t.String() }

// Reveal is the token itself.
func (t Token) Reveal() string { return string(t) }

// Namespace is a set of ids. An id belongs to it when it begins with what the expression matches, as other homeservers have it.
type Namespace struct {
	Exclusive bool
	Regexp    *regexp.Regexp // made by Compile
}

// Compile makes the expression of a namespace.
func Compile(expression string) (*regexp.Regexp, error) {
	return regexp.Compile("^(?:" + expression + ")")
}

// Expression is what Compile was given.
func (n Namespace) Expression() string {
	return strings.TrimSuffix(strings.TrimPrefix(n.Regexp.String(), "^(?:"), ")")
}

// Registration is one application service.
type Registration struct {
	ID              string
	URL             string // without a slash at its end; empty: it wants no traffic
	ASToken         Token  // with which it speaks to us
	HSToken         Token  // with which we speak to it
	SenderLocalpart string
	Users           []Namespace
	Aliases         []Namespace
	Rooms           []Namespace
	Protocols       []string // the third-party networks that it bridges
	// RateLimited says that its users are, as everybody is; its own user never is.
	RateLimited bool
	// Ephemeral says that it wants typing, receipts, presence, and messages to devices.
	Ephemeral bool
	// Encryption says that it wants what end-to-end encryption needs: messages to devices, changes of device lists, and how
	// many one-time keys are left (MSC3202).
	Encryption bool

	serverName string
	userID     string
}

// UserID is the id of the application service's own user.
func (r *Registration) UserID() string { return r.userID }

// Owns reports whether a user is one of the application service: a local one, its own or in its namespaces.
func (r *Registration) Owns(userID string) bool {
	return userID == r.userID || id.ServerOf(userID) == r.serverName && matches(r.Users, userID)
}

// OwnsAlias reports whether an alias is in the namespaces of the application service.
func (r *Registration) OwnsAlias(alias string) bool { return matches(r.Aliases, alias) }

// OwnsRoom reports whether a room is in the namespaces of the application service.
func (r *Registration) OwnsRoom(roomID string) bool { return matches(r.Rooms, roomID) }

// Reserves reports whether a user is reserved to the application service: its own, or in an exclusive namespace.
func (r *Registration) Reserves(userID string) bool {
	return userID == r.userID || id.ServerOf(userID) == r.serverName && reserved(r.Users, userID)
}

// ReservesAlias reports whether an alias is in an exclusive namespace of the application service.
func (r *Registration) ReservesAlias(alias string) bool { return reserved(r.Aliases, alias) }

// Limited reports whether the rate of what the user does is limited.
func (r *Registration) Limited(userID string) bool { return r.RateLimited && userID != r.userID }

func matches(all []Namespace, id string) bool {
	return slices.ContainsFunc(all, func(n Namespace) bool { return n.Regexp.MatchString(id) })
}

func reserved(all []Namespace, id string) bool {
	return slices.ContainsFunc(all, func(n Namespace) bool { return n.Exclusive && n.Regexp.MatchString(id) })
}

package appservice

import (
	"crypto/sha256"
	"slices"
)

// Set is all application services of a server. It does not change; a nil *Set has none.
type Set struct {
	all     []*Registration
	byID    map[string]*Registration
	byToken map[[32]byte]*Registration // by hash, so that the time of a look-up tells nothing of the token
}

// NewSet makes a set of registrations with different ids and tokens, which are the caller's no more.
func NewSet(serverName string, all ...*Registration) *Set {
	s := &Set{all: all, byID: map[string]*Registration{}, byToken: map[[32]byte]*Registration{}}
	for _, r := range all {
		r.serverName, r.userID = serverName, "@"+r.SenderLocalpart+":"+serverName
		s.byID[r.ID] = r
		s.byToken[sha256.Sum256([]byte(r.ASToken))] = r
	}
	return s
}

// All are the application services, in the order of the configuration.
func (s *Set) All() []*Registration {
	if s == nil {
		return nil
	}
	return s.all
}

// ByID finds an application service; nil when there is none.
func (s *Set) ByID(id string) *Registration {
	if s == nil {
		return nil
	}
	return s.byID[id]
}

// ByToken finds the application service that speaks with a token; nil when there is none.
func (s *Set) ByToken(token string) *Registration {
	if s == nil {
		return nil
	}
	return s.byToken[sha256.Sum256([]byte(token))]
}

// Reserved reports whether a user is reserved to another application service than the one with this id, which may be empty.
func (s *Set) Reserved(userID, to string) bool {
	return slices.ContainsFunc(s.All(), func(r *Registration) bool { return r.ID != to && r.Reserves(userID) })
}

// ReservedAlias reports whether an alias is reserved to another application service than the one with this id, which may be empty.
func (s *Set) ReservedAlias(alias, to string) bool {
	return slices.ContainsFunc(s.All(), func(r *Registration) bool { return r.ID != to && r.ReservesAlias(alias) })
}

// MayActAs reports whether an application service may make, log in and speak as a user: its own, and those of its namespaces that are not
// reserved to another.
func (s *Set) MayActAs(r *Registration, userID string) bool {
	return userID == r.UserID() || r.Owns(userID) && !s.Reserved(userID, r.ID)
}

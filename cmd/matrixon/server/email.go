package server

import (
	"context"
	"fmt"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/http/api/address"
	sending "github.com/matrixon/matrixon/http/outbound/mail"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// startEmail makes what sends email and validates addresses, when the server does that.
func (s *Server) startEmail() error {
	c := s.config.Email
	if c.Host == "" {
		return nil
	}
	from, err := mail.ParseAddress(c.From)
	if err != nil {
		return fmt.Errorf("email.from: %w", err)
	}
	roots, err := trusted(c.CAFile)
	if err != nil {
		return fmt.Errorf("email.ca_file: %w", err)
	}
	s.mailer = sending.New(sending.Options{Host: c.Host, Port: int(c.Port), TLS: c.TLS, User: c.User, Password: c.Password.Reveal(),
		From: from, Roots: roots, ServerName: s.config.ServerName})
	s.addresses = &address.Validator{Store: s.store, Send: s.sendLink, BaseURL: strings.TrimSuffix(s.config.WellKnown.ClientBaseURL, "/")}
	return nil
}

// errNoEmail is what clients are told.
var errNoEmail = mxerr.New(http.StatusInternalServerError, "M_UNKNOWN", "the message could not be sent; try again later")

// sendLink sends the message with which an address is confirmed.
func (s *Server) sendLink(ctx context.Context, to string, purpose address.Purpose, userID, link string) error {
	err := s.mailer.Confirm(ctx, to, sending.Confirmation{Reason: sending.Reason(purpose), UserID: userID, Link: link, Hours: int(address.Lifetime / time.Hour)})
	if err != nil {
		s.log.Error("an email could not be sent", "error", err)
		return errNoEmail
	}
	return nil
}

// terms are the policies of the configuration as params of m.login.terms; nil: none.
func terms(policies []config.Policy) any {
	if len(policies) == 0 {
		return nil
	}
	all := map[string]map[string]any{}
	for _, p := range policies {
		if all[p.ID] == nil {
			all[p.ID] = map[string]any{"version": p.Version}
		}
		all[p.ID][p.Language] = map[string]string{"name": p.Name, "url": p.URL}
	}
	return map[string]any{"policies": all}
}

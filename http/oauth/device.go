package oauth

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/browser"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The codes that people type: letters that make no words and are not mistaken for others (RFC 8628, section 6.1).
const (
	codeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	codeLength  = 8
)

// newUserCode makes one; 20^8 are too many to guess in the time that one is good.
func newUserCode() string {
	code := make([]byte, 0, codeLength)
	var b [1]byte
	for len(code) < codeLength {
		_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
		if n := int(b[0]); n < 256/len(codeLetters)*len(codeLetters) {
			code = append(code, codeLetters[n%len(codeLetters)])
		}
	}
	return string(code)
}

// spelt is how a code is shown.
func spelt(code string) string { return code[:codeLength/2] + "-" + code[codeLength/2:] }

// typed is the code that somebody has typed, in whichever way; empty when it cannot be one.
func typed(text string) string {
	if len(text) > 64 {
		return ""
	}
	code := strings.Map(func(c rune) rune {
		if c == '-' || c == ' ' || c == '\t' {
			return -1
		}
		return c
	}, strings.ToUpper(text))
	if len(code) != codeLength || strings.Trim(code, codeLetters) != "" {
		return ""
	}
	return code
}

// device begins the way of a device on which nobody can sign in (client-server API, "Device authorisation flow"; RFC 8628).
func (s *Server) device(r *api.Request) (any, error) {
	if err := r.Take(api.LimitLogin); err != nil {
		return nil, err
	}
	q, err := form(r)
	if err != nil {
		return nil, err
	}
	c, err := s.find(r.Ctx, q.Get("client_id"))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(c.Grants, grantDevice) {
		return nil, fail("unauthorized_client", "the client has not registered the grant type "+grantDevice)
	}
	granted, deviceID, err := parseScope(q.Get("scope"))
	if err != nil {
		return nil, err
	}
	token := secret.New(secret.Device)
	row := schema.OAuthDeviceCode{Hash: secret.Hash(token), ClientID: q.Get("client_id"), DeviceID: deviceID, Scope: granted, ExpiresTS: r.Now.Add(deviceLife).UnixMilli()}
	for {
		row.UserCode = newUserCode()
		put := schema.OAuthDeviceCodes.Put(row)
		_, err := persistence.Await(r.Ctx, s.o.Store, &persistence.Commit{Absent: []persistence.Mutation{put}, Write: []persistence.Mutation{
			put, schema.OAuthDeviceWaits.Put(schema.OAuthDeviceWait{Hash: row.Hash, UserCode: row.UserCode, ExpiresTS: row.ExpiresTS})}})
		if errors.Is(err, persistence.ErrExists) {
			continue // somebody else has the code
		}
		if errors.Is(err, persistence.ErrOverloaded) {
			err = mxerr.LimitExceeded(1000)
		}
		if err != nil {
			return nil, err
		}
		break
	}
	link := s.o.Pages.URL(linkPath)
	return map[string]any{
		"device_code": token, "user_code": spelt(row.UserCode), "verification_uri": link,
		"verification_uri_complete": browser.With(link, "user_code", spelt(row.UserCode)),
		"expires_in":                int64(deviceLife / time.Second), "interval": int64(pollInterval / time.Second),
	}, nil
}

// byDevice answers a device that asks whether it has been let in.
func (s *Server) byDevice(r *api.Request, q url.Values) (any, error) {
	token := q.Get("device_code")
	if token == "" {
		return nil, fail("invalid_request", "device_code is required")
	}
	if !secret.Is(secret.Device, token) {
		return nil, errGrant
	}
	hash := secret.Hash(token)
	if s.polls.Take(r.Ctx, polling, string(hash), 1) != nil {
		return nil, fail("slow_down", "the device asks too often")
	}
	wait, ok, err := schema.OAuthDeviceWaits.Get(r.Ctx, s.Store, schema.OAuthDeviceWait{Hash: hash})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errGrant
	}
	if r.Now.UnixMilli() >= wait.ExpiresTS {
		return nil, fail("expired_token", "the device code is too old")
	}
	row, _, err := schema.OAuthDeviceCodes.Get(r.Ctx, s.Store, schema.OAuthDeviceCode{UserCode: wait.UserCode})
	if err != nil {
		return nil, err
	}
	if row.ClientID != q.Get("client_id") {
		return nil, errGrant
	}
	g, ok, err := schema.OAuthGrants.Get(r.Ctx, s.Store, schema.OAuthGrant{Hash: hash})
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fail("authorization_pending", "nobody has decided yet")
	case g.Denied:
		return nil, fail("access_denied", "the user has refused")
	}
	return s.redeem(r, g)
}

// waiting gives the device that shows a code; ok is false when there is none.
func (s *Server) waiting(v *browser.View, text string) (row schema.OAuthDeviceCode, ok bool, err error) {
	code := typed(text)
	if code == "" {
		return row, false, nil
	}
	// Codes are short, so guesses count.
	if err := v.Exhausted(api.LimitLoginFailed, "link:"+v.IP()); err != nil {
		return row, false, err
	}
	row, ok, err = schema.OAuthDeviceCodes.Get(v.Ctx, s.Store, schema.OAuthDeviceCode{UserCode: code})
	if err != nil {
		return row, false, err
	}
	if !ok || v.Now.UnixMilli() >= row.ExpiresTS {
		return row, false, v.TakeFor(api.LimitLoginFailed, "link:"+v.IP())
	}
	return row, true, nil
}

// linkPage is where people type the code of a device, or come with it.
func (s *Server) linkPage(v *browser.View) (any, error) {
	text := v.Param("user_code")
	self := linkPath
	if text != "" {
		self = browser.With(linkPath, "user_code", text)
	}
	if to := s.o.Pages.NeedUser(v, browser.Local(self), false, ""); to != nil {
		return to, nil
	}
	if text == "" {
		return s.askCode(v, http.StatusOK, "", "")
	}
	row, ok, err := s.waiting(v, text)
	if err != nil {
		return nil, err
	}
	if !ok {
		return s.askCode(v, http.StatusNotFound, text, "No device waits with this code. It may be mistyped, or too old.")
	}
	c, err := s.describe(v, row.ClientID, row.DeviceID, consent{Self: linkPath, Request: row.UserCode, UserCode: spelt(row.UserCode),
		SignIn: browser.With(browser.SignInPath, "next", self)})
	if err == nil && c.Warning == "" {
		c.Warning = "Only let in a device that is in your own hands, and shows this code."
	}
	return s.ask(v, c, err)
}

func (s *Server) askCode(v *browser.View, status int, text, problem string) (any, error) {
	return s.o.Pages.Render(status, "code", browser.Shown{Title: "Let a device in", User: v.Who.Account.UserID, Error: problem,
		Data: struct{ Self, Code string }{linkPath, text[:min(len(text), 64)]}})
}

// link does what the user has decided.
func (s *Server) link(v *browser.View) (any, error) {
	if to := s.o.Pages.NeedUser(v, linkPath, false, ""); to != nil {
		return to, nil
	}
	row, ok, err := s.waiting(v, v.Form.Get("request"))
	if err != nil {
		return nil, err
	}
	if !ok {
		return s.askCode(v, http.StatusNotFound, "", "The device waits no more. Begin anew there.")
	}
	allow := v.Form.Get("decision") == "allow"
	err = s.o.Pages.Registrar().Ask(v.Request, v.Who.Account.UserID, &messages.GrantOAuth{Hash: row.Hash, ClientId: row.ClientID, DeviceId: row.DeviceID,
		Scope: row.Scope, ExpiresTs: row.ExpiresTS, Denied: !allow})
	if err != nil {
		return nil, err
	}
	shown := browser.Shown{Title: "The device is let in", User: v.Who.Account.UserID, Data: "Go on there; you can close this page."}
	if !allow {
		shown.Title, shown.Data = "The device is refused", "You can close this page."
	}
	return s.o.Pages.Render(http.StatusOK, "message", shown)
}

package client

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

//go:embed confirmpage.html
var confirmFile embed.FS

var confirmTemplate = template.Must(template.ParseFS(confirmFile, "confirmpage.html"))

// confirmShown is what the page of a link shows.
type confirmShown struct {
	Server, Title, Text, Button string
	SID, Token                  string
	Next, NextHost              string // where to go on
}

// confirmPage is where the link of a message leads: to a button, because programs that look through mail open links too.
func (a *accounts) confirmPage(r *api.Request) (any, error) {
	sid, token := r.Param("sid"), r.Param("token")
	row, ok, err := a.o.Addresses.Look(r.Ctx, r.Now, sid, token)
	if err != nil {
		return nil, err
	}
	if !ok {
		return a.deadLink()
	}
	s := confirmShown{SID: sid, Token: token, Title: "Confirm your email address", Button: "Confirm", Text: "Is " + row.Address + " your address, and did you ask for this?"}
	if address.Purpose(row.Purpose) == address.Password {
		s.Title, s.Button, s.Text = "Set a new password", "Yes, go on", "Did you ask for a new password of "+row.UserID+"? If it was not you, close this page."
	}
	return a.confirmAnswer(http.StatusOK, s)
}

// confirmAddress is the button.
func (a *accounts) confirmAddress(r *api.Request) (any, error) {
	raw, err := r.Body()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, mxerr.InvalidParam("the body must be that of a form, with sid and token")
	}
	row, ok, err := a.o.Addresses.Confirm(r.Ctx, r.Now, form.Get("sid"), form.Get("token"))
	if err != nil {
		return nil, err
	}
	if !ok {
		return a.deadLink()
	}
	s := confirmShown{Title: "Your email address is confirmed", Text: "Go back to your app and go on there."}
	if u, err := url.Parse(row.NextLink); err == nil && u.Host != "" {
		s.Next, s.NextHost = row.NextLink, u.Host
	}
	return a.confirmAnswer(http.StatusOK, s)
}

func (a *accounts) deadLink() (any, error) {
	return a.confirmAnswer(http.StatusNotFound, confirmShown{Title: "This link is not good any more",
		Text: "It may have been used, or be too old. Have your app send another message."})
}

func (a *accounts) confirmAnswer(status int, s confirmShown) (any, error) {
	s.Server = a.ServerName
	var page bytes.Buffer
	if err := confirmTemplate.Execute(&page, s); err != nil {
		return nil, err
	}
	return api.Stream(func(w http.ResponseWriter, _ *http.Request) error {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("Referrer-Policy", "no-referrer") // the link is a secret
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		_, _ = w.Write(page.Bytes()) // the browser is gone when this fails
		return nil
	}), nil
}

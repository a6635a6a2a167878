package browser

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"

	"github.com/matrixon/matrixon/http/api"
)

//go:embed templates
var templateFiles embed.FS

//go:embed templates/style.css
var style string

// pages are the templates: each page with the layout around it.
var pages = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, name := range []string{"signin", "signup", "username", "confirm", "consent", "code", "account", "profile", "devices", "device", "deactivate", "reset", "message", "problem", "prove", "finish", "forgot", "renew", "stage"} {
		all[name] = template.Must(template.New(name).ParseFS(templateFiles, "templates/layout.html", "templates/"+name+".html"))
	}
	return all
}()

// policy lets a page do nothing but show itself. Where its forms may lead is not restricted: browsers count redirects too, and these end at
// apps.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; frame-ancestors 'none'"
}()

// Shown is what a template gets.
type Shown struct {
	Title string
	User  string // who is signed in; empty when nobody is, or it does not matter
	Error string
	Data  any
	// Script runs when the page is shown: what apps wait for. It is the server's own text.
	Script string

	server string
}

// Server is the server's name.
func (s Shown) Server() string { return s.server }

// Style is the style sheet.
func (Shown) Style() template.CSS { return template.CSS(style) } //nolint:gosec // our own file

// Code is the script.
func (s Shown) Code() template.JS { return template.JS(s.Script) } //nolint:gosec // never what somebody sent

// Account is the path of the account's pages.
func (Shown) Account() string { return AccountPath }

// SignOut is where the browser is signed out.
func (Shown) SignOut() string { return SignOutPath }

// guard says what a browser may do with an answer, and that no other site has any business here.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Expose-Headers"} {
		h.Del(name)
	}
}

// Render makes a page before its first byte is sent, so that a failure can still be told.
func (p *Pages) Render(status int, page string, s Shown, cookies ...*http.Cookie) (any, error) {
	s.server = p.ServerName
	var b bytes.Buffer
	if err := pages[page].ExecuteTemplate(&b, "layout", s); err != nil {
		return nil, fmt.Errorf("page %s: %w", page, err)
	}
	return api.Stream(func(w http.ResponseWriter, _ *http.Request) error {
		guard(w.Header())
		if s.Script != "" {
			sum := sha256.Sum256([]byte(s.Script))
			w.Header().Set("Content-Security-Policy", policy+"; script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		}
		for _, c := range cookies {
			http.SetCookie(w, c)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write(b.Bytes()) // the browser is gone when this fails
		return nil
	}), nil
}

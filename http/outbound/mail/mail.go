// Package mail sends email: it makes messages of templates, as text and as HTML, and hands each to an SMTP server.
package mail

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"embed"
	"errors"
	"fmt"
	html "html/template"
	"net/mail"
	"strings"
	text "text/template"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// How the connection to the SMTP server is encrypted.
const (
	STARTTLS = "starttls" // after a greeting in the clear; without it nothing is sent
	TLS      = "tls"      // from the first byte
	Plain    = "none"     // not at all
)

// Options say how email leaves the server.
type Options struct {
	Host           string
	Port           int
	TLS            string // STARTTLS, TLS or Plain
	User, Password string // empty: the SMTP server wants none
	From           *mail.Address
	Roots          *x509.CertPool // nil: the system's
	ServerName     string         // as messages call the homeserver
}

// The bounds of the work: more messages wait for their turn, each no longer than its context allows.
const (
	atOnce  = 8
	timeout = 20 * time.Second // for one message
)

// Mailer sends messages. It is safe for concurrent use.
type Mailer struct {
	o     Options
	slots chan struct{}
}

// New makes a mailer. It does not look whether the SMTP server is there.
func New(o Options) *Mailer { return &Mailer{o: o, slots: make(chan struct{}, atOnce)} }

//go:embed templates
var files embed.FS

var (
	htmlPages = html.Must(html.ParseFS(files, "templates/*.html"))
	textPages = text.Must(text.ParseFS(files, "templates/*.txt"))
)

// send makes a message of the template with this name and sends it.
func (m *Mailer) send(ctx context.Context, to, subject, template string, data any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return fmt.Errorf("mail: %w", ctx.Err())
	}
	msg, err := m.message(to, subject, template, data)
	if err != nil {
		return err
	}
	client, err := m.client()
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	return nil
}

func (m *Mailer) message(to, subject, template string, data any) (*gomail.Msg, error) {
	var plain, page bytes.Buffer
	if err := textPages.ExecuteTemplate(&plain, template+".txt", data); err != nil {
		return nil, err
	}
	if err := htmlPages.ExecuteTemplate(&page, template+".html", data); err != nil {
		return nil, err
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(m.o.From)
	if err := msg.To(to); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	msg.Subject(oneLine(subject))
	msg.SetDate()
	_, domain, _ := strings.Cut(m.o.From.Address, "@")
	msg.SetMessageIDWithValue(rand.Text() + "@" + domain)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody is to answer by himself
	msg.SetBodyString(gomail.TypeTextPlain, plain.String())
	msg.AddAlternativeString(gomail.TypeTextHTML, page.String())
	return msg, nil
}

// client is a client of the SMTP server, for one message.
func (m *Mailer) client() (*gomail.Client, error) {
	o := []gomail.Option{gomail.WithPort(m.o.Port), gomail.WithTimeout(timeout), gomail.WithoutNoop(),
		gomail.WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: m.o.Host, RootCAs: m.o.Roots})}
	switch m.o.TLS {
	case STARTTLS:
		o = append(o, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case TLS:
		o = append(o, gomail.WithSSL())
	case Plain:
		o = append(o, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, errors.New("unknown encryption " + m.o.TLS)
	}
	if m.o.User != "" {
		o = append(o, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(m.o.User), gomail.WithPassword(m.o.Password))
	}
	return gomail.NewClient(m.o.Host, o...)
}

// oneLine makes text, which strangers may have written, fit for a header.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
}

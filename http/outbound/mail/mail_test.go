package mail_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/matrixon/matrixon/actors/push"
	"github.com/matrixon/matrixon/http/outbound/mail"
)

// letterBox is an SMTP server that keeps what it is sent.
type letterBox struct {
	port int

	mu       sync.Mutex
	messages []string
	from, to string
	user     string
	refuse   bool
}

func newLetterBox(t *testing.T, secure *tls.Config, wrap bool) *letterBox {
	t.Helper()
	b := &letterBox{}
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{b: b}, nil }))
	s.Domain, s.TLSConfig, s.AllowInsecureAuth = "box.test", secure, secure == nil
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.port = ln.Addr().(*net.TCPAddr).Port
	if wrap {
		ln = tls.NewListener(ln, secure)
	}
	go s.Serve(ln) //nolint:errcheck // it ends with Close
	t.Cleanup(func() { _ = s.Close() })
	return b
}

type session struct{ b *letterBox }

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "right" {
			return errors.New("wrong password")
		}
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		s.b.user = user
		return nil
	}), nil
}
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.b.refuse {
		return &smtp.SMTPError{Code: 451, Message: "later"}
	}
	s.b.from = from
	return nil
}
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.to = to
	return nil
}
func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.messages = append(s.b.messages, string(raw))
	return err
}
func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (b *letterBox) mailer(o mail.Options) *mail.Mailer {
	o.Host, o.Port, o.ServerName = "127.0.0.1", b.port, "example.org"
	o.From = &netmail.Address{Name: "Exämple", Address: "noreply@example.org"}
	return mail.New(o)
}

// parts are the bodies of the only message, by type.
func (b *letterBox) parts(t *testing.T) (netmail.Header, map[string]string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) != 1 {
		t.Fatalf("%d messages", len(b.messages))
	}
	msg, err := netmail.ReadMessage(strings.NewReader(b.messages[0]))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	r := multipart.NewReader(msg.Body, params["boundary"])
	for {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return msg.Header, all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(part.Header.Get("Content-Type"), ";")
		all[kind] = string(text)
	}
}

var confirmation = mail.Confirmation{Reason: mail.Password, UserID: "@<b>alice</b>:example.org", Link: "https://m.example.org/x?sid=1&token=2", Hours: 1}

func TestConfirm(t *testing.T) {
	t.Parallel()
	b := newLetterBox(t, nil, false)
	m := b.mailer(mail.Options{TLS: mail.Plain})
	if err := m.Confirm(context.Background(), "alice@example.net", confirmation); err != nil {
		t.Fatal(err)
	}
	header, parts := b.parts(t)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from != "noreply@example.org" || b.to != "alice@example.net" || header.Get("Subject") != "Set a new password for example.org" ||
		header.Get("Auto-Submitted") != "auto-generated" || !strings.HasSuffix(header.Get("Message-ID"), "@example.org>") || header.Get("Date") == "" {
		t.Errorf("from %s to %s: %v", b.from, b.to, header)
	}
	if text := parts["text/plain"]; !strings.Contains(text, confirmation.Link) || !strings.Contains(text, confirmation.UserID) || !strings.Contains(text, "one hour") {
		t.Error(text)
	}
	if page := parts["text/html"]; !strings.Contains(page, `href="https://m.example.org/x?sid=1&amp;token=2"`) || strings.Contains(page, "<b>") {
		t.Error(page)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	b := newLetterBox(t, nil, false)
	ctx := context.Background()
	if err := b.mailer(mail.Options{TLS: mail.STARTTLS}).Confirm(ctx, "a@b.org", confirmation); err == nil {
		t.Error("it was sent without encryption")
	}
	if err := b.mailer(mail.Options{TLS: mail.Plain}).Confirm(ctx, "a@b.org\r\nBcc: c@d.org", confirmation); err == nil {
		t.Error("an address with a header in it was taken")
	}
	b.mu.Lock()
	b.refuse = true
	b.mu.Unlock()
	if err := b.mailer(mail.Options{TLS: mail.Plain}).Confirm(ctx, "a@b.org", confirmation); err == nil {
		t.Error("a refusal is no error")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) != 0 {
		t.Errorf("%d messages were sent", len(b.messages))
	}
}

func TestEncryptionAndLogin(t *testing.T) {
	t.Parallel()
	pair, roots := certificate(t)
	secure := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	for mode, wrap := range map[string]bool{mail.STARTTLS: false, mail.TLS: true} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newLetterBox(t, secure, wrap)
			ctx := context.Background()
			o := mail.Options{TLS: mode, User: "matrixon", Password: "right", Roots: roots}
			if err := b.mailer(o).Confirm(ctx, "a@b.org", confirmation); err != nil {
				t.Fatal(err)
			}
			b.parts(t)
			b.mu.Lock()
			if b.user != "matrixon" {
				t.Errorf("user %q", b.user)
			}
			b.mu.Unlock()
			wrong := o
			wrong.Password = "wrong"
			if err := b.mailer(wrong).Confirm(ctx, "a@b.org", confirmation); err == nil {
				t.Error("a wrong password is no error")
			}
			o.Roots = x509.NewCertPool()
			if err := b.mailer(o).Confirm(ctx, "a@b.org", confirmation); err == nil {
				t.Error("an unknown certificate is no error")
			}
		})
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	b := newLetterBox(t, nil, false)
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	d := push.Digest{UserID: "@alice:example.org", Rooms: []push.DigestRoom{{ID: "!a/b:example.org", Name: "Kit\r\nBcc: x@y.org<i>", More: 3, Lines: []push.DigestLine{
		{Sender: "Bob", Text: "<script>", Time: at}, {Sender: "Carol", Time: at, Highlight: true},
	}}}}
	if err := b.mailer(mail.Options{TLS: mail.Plain}).Digest(context.Background(), "alice@example.net", d); err != nil {
		t.Fatal(err)
	}
	header, parts := b.parts(t)
	if header.Get("Bcc") != "" || !strings.HasPrefix(header.Get("Subject"), "You have missed messages in Kit Bcc") {
		t.Errorf("%v", header)
	}
	for _, want := range []string{"2026-01-02 03:04 UTC  Bob: <script>", "Carol sent something that cannot be shown here", "and 3 more", "https://matrix.to/#/%21a%2Fb:example.org"} {
		if text := parts["text/plain"]; !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if page := parts["text/html"]; strings.Contains(page, "<script>") || strings.Contains(page, "<i>") || !strings.Contains(page, "&lt;script&gt;") {
		t.Error(page)
	}
}

package address

import (
	"net/mail"
	"strings"

	"golang.org/x/text/cases"
)

// maxEmail is the longest email address, in bytes (RFC 5321, 4.5.3.1.3).
const maxEmail = 254

// Canonical gives the canonical form of an email address (appendices, "3PID Types"); ok is false for what is none.
func Canonical(text string) (address string, ok bool) {
	parsed, err := mail.ParseAddress(text)
	if err != nil || parsed.Name != "" || parsed.Address != text || len(text) > maxEmail {
		return "", false
	}
	at := strings.LastIndexByte(text, '@')
	if domain := text[at+1:]; at < 1 || !strings.Contains(domain, ".") && domain != "localhost" || strings.HasPrefix(domain, "[") {
		return "", false
	}
	folded := cases.Fold().String(text)
	return folded, len(folded) <= maxEmail
}

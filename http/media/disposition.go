package media

import (
	"mime"
	"slices"
	"strings"
	"unicode/utf8"
)

// octets is the type of what nobody has said to be anything else.
const octets = "application/octet-stream"

// inline are the types that browsers show without running anything (client-server API, "Serving inline content").
var inline = []string{
	"text/css", "text/plain", "text/csv", "application/json", "application/ld+json",
	"image/jpeg", "image/gif", "image/png", "image/apng", "image/webp", "image/avif",
	"video/mp4", "video/webm", "video/ogg", "video/quicktime",
	"audio/mp4", "audio/webm", "audio/aac", "audio/mpeg", "audio/ogg", "audio/wave", "audio/wav", "audio/x-wav", "audio/x-pn-wav",
	"audio/flac", "audio/x-flac",
}

// served gives the type with which content is served, and whether it may be shown inline. Text without a charset is UTF-8.
func served(declared string) (contentType string, shown bool) {
	base, parameters, err := mime.ParseMediaType(declared)
	if err != nil {
		return octets, false
	}
	shown = slices.Contains(inline, base)
	if strings.HasPrefix(base, "text/") && parameters["charset"] == "" {
		if parameters == nil {
			parameters = map[string]string{}
		}
		parameters["charset"] = "utf-8"
		if withCharset := mime.FormatMediaType(base, parameters); withCharset != "" {
			return withCharset, shown
		}
	}
	return declared, shown
}

// disposition writes the Content-Disposition header (RFC 6266). What is not ASCII is encoded as RFC 8187 has it.
func disposition(shown bool, filename *string) string {
	kind := "attachment"
	if shown {
		kind = "inline"
	}
	if filename == nil || *filename == "" {
		return kind
	}
	if isASCII(*filename) {
		return kind + `; filename="` + quoted.Replace(*filename) + `"`
	}
	return kind + "; filename*=utf-8''" + percent(*filename)
}

var quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c >= 0x7f })
}

// percent encodes everything but attr-char of RFC 8187.
func percent(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(strings.ToValidUTF8(s, string(utf8.RuneError))) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// Package preview finds out what a web page says about itself: the properties of the Open Graph protocol (ogp.me), and what can be
// told from titles, descriptions and oEmbed where there are none. Pages are written by strangers: they are read as a stream
// of tokens, up to a bound, and never as a tree.
package preview

import (
	"errors"
	"io"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

// The bounds of what is taken from a page.
const (
	maxPage       = 2 << 20 // bytes that are read
	maxValue      = 1000    // characters of a property
	maxProperties = 50
	wantedText    = 200 // characters of the text that stands for a missing description
)

// page is what was found.
type page struct {
	properties  map[string]string // og:… and further prefixes of the kind
	title       string            // of the title element
	heading     string            // the first one
	description string            // of <meta name=description>
	text        strings.Builder   // the beginning of the text
	icon        string
	oEmbed      string // where more is said as JSON
	base        *url.URL
}

// parse reads a page. It gives what was found until the page ends, breaks off, or is long enough.
func parse(r io.Reader, contentType string, at *url.URL) (*page, error) {
	decoded, err := charset.NewReader(io.LimitReader(r, maxPage), contentType)
	if err != nil {
		if errors.Is(err, io.EOF) {
			decoded = strings.NewReader("")
		} else {
			return nil, err
		}
	}
	p := &page{properties: map[string]string{}, base: at}
	t := html.NewTokenizer(decoded)
	t.SetMaxBuf(maxPage)
	for {
		switch t.Next() {
		case html.ErrorToken:
			if err := t.Err(); !errors.Is(err, io.EOF) && !errors.Is(err, html.ErrBufferExceeded) {
				return nil, err
			}
			return p, nil
		case html.StartTagToken, html.SelfClosingTagToken:
			p.element(t)
		case html.TextToken:
			p.say(string(t.Text()))
		}
	}
}

// silent are elements whose text is not for readers of the page's contents.
var silent = map[atom.Atom]bool{
	atom.Script: true, atom.Style: true, atom.Noscript: true, atom.Template: true, atom.Svg: true, atom.Canvas: true, atom.Iframe: true,
	atom.Header: true, atom.Nav: true, atom.Aside: true, atom.Footer: true, atom.Select: true, atom.Button: true, atom.Form: true,
}

// element looks at an element that begins.
func (p *page) element(t *html.Tokenizer) {
	token := t.Token()
	attributes := map[string]string{}
	for _, a := range token.Attr {
		if _, twice := attributes[a.Key]; !twice {
			attributes[a.Key] = a.Val
		}
	}
	switch {
	case token.DataAtom == atom.Meta:
		p.meta(attributes)
	case token.DataAtom == atom.Link:
		p.link(attributes)
	case token.DataAtom == atom.Base:
		if u := resolve(p.base, attributes["href"]); u != nil {
			p.base = u
		}
	case token.Type == html.SelfClosingTagToken:
	case token.DataAtom == atom.Title && p.title == "":
		p.title = inside(t, atom.Title)
	case token.DataAtom == atom.H1 && p.heading == "":
		p.heading = inside(t, atom.H1)
	case silent[token.DataAtom]:
		inside(t, token.DataAtom)
	}
}

// inside gives the text up to the end of the element, and passes over it.
func inside(t *html.Tokenizer, element atom.Atom) string {
	var text strings.Builder
	for depth := 1; ; {
		switch kind := t.Next(); kind {
		case html.ErrorToken:
			return text.String()
		case html.TextToken:
			if text.Len() < maxValue*utf8.UTFMax {
				text.Write(t.Text())
			}
		case html.StartTagToken, html.EndTagToken:
			name, _ := t.TagName()
			if atom.Lookup(name) != element {
				continue
			}
			if kind == html.StartTagToken {
				depth++
			} else if depth--; depth == 0 {
				return text.String()
			}
		}
	}
}

// kept are the prefixes of properties that clients get.
var kept = []string{"og:", "article:", "profile:", "book:", "video:", "music:"}

func (p *page) meta(attributes map[string]string) {
	value := attributes["content"]
	name := strings.ToLower(strings.TrimSpace(attributes["property"]))
	if name == "" {
		name = strings.ToLower(strings.TrimSpace(attributes["name"]))
	}
	if name == "description" {
		p.description = value
		return
	}
	if rest, ok := strings.CutPrefix(name, "twitter:"); ok { // weaker than og:, which may come before or after
		switch rest {
		case "title", "description", "image", "site":
			name = "twitter:" + rest
		default:
			return
		}
	} else if !keeps(name) {
		return
	}
	if value = clean(value); value == "" || len(name) > 100 || len(p.properties) >= maxProperties {
		return
	}
	if _, there := p.properties[name]; !there { // the first of several is the main one
		p.properties[name] = value
	}
}

func keeps(name string) bool {
	for _, prefix := range kept {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (p *page) link(attributes map[string]string) {
	for _, rel := range strings.Fields(strings.ToLower(attributes["rel"])) {
		switch {
		case rel == "alternate" && strings.EqualFold(strings.TrimSpace(attributes["type"]), "application/json+oembed") && p.oEmbed == "":
			p.oEmbed = attributes["href"]
		case (rel == "icon" || rel == "apple-touch-icon") && p.icon == "":
			p.icon = attributes["href"]
		}
	}
}

// say takes the beginning of the text that is to be read.
func (p *page) say(text string) {
	if p.text.Len() > wantedText*utf8.UTFMax {
		return
	}
	if text = strings.Join(strings.Fields(text), " "); text != "" {
		if p.text.Len() > 0 {
			p.text.WriteByte(' ')
		}
		p.text.WriteString(shorten(text, wantedText))
	}
}

// openGraph is what a client gets, without the picture.
func (p *page) openGraph() map[string]string {
	out := map[string]string{}
	for name, value := range p.properties {
		if !strings.HasPrefix(name, "twitter:") {
			out[name] = value
		}
	}
	fill := func(name string, candidates ...string) {
		for _, c := range candidates {
			if out[name] == "" {
				if c = clean(c); c != "" {
					out[name] = c
				}
			}
		}
	}
	fill("og:title", p.properties["twitter:title"], p.title, p.heading)
	fill("og:description", p.properties["twitter:description"], p.description, shorten(p.text.String(), wantedText))
	return out
}

// picture is the address of the page's picture, nil when it has none.
func (p *page) picture() *url.URL {
	for _, candidate := range []string{p.properties["og:image:secure_url"], p.properties["og:image"], p.properties["og:image:url"], p.properties["twitter:image"], p.icon} {
		if u := resolve(p.base, candidate); u != nil {
			return u
		}
	}
	return nil
}

// resolve gives an address on the web, nil when there is none.
func resolve(base *url.URL, reference string) *url.URL {
	if reference = strings.TrimSpace(reference); reference == "" || len(reference) > maxURL {
		return nil
	}
	u, err := base.Parse(reference)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil
	}
	return u
}

// clean makes one line of valid text of bounded length.
func clean(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	s = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, s)
	return shorten(strings.Join(strings.Fields(s), " "), maxValue)
}

// shorten cuts text after a number of characters, where a word ends if it can.
func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	end, count := 0, 0
	for i := range s {
		if count == most-1 {
			end = i
			break
		}
		count++
	}
	cut := s[:end]
	if space := strings.LastIndexByte(cut, ' '); space > len(cut)/2 {
		cut = cut[:space]
	}
	return cut + "…"
}

package preview

import (
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxOEmbed bounds an answer, in bytes.
const maxOEmbed = 256 << 10

// oEmbed is what an answer says (oembed.com). Members of other types than these count as absent.
type oEmbed struct {
	Kind      string
	Title     string
	Author    string
	Provider  string
	URL       string // of a photo
	Thumbnail string
}

// parseOEmbed reads an answer. Providers write numbers where text belongs, and the other way round.
func parseOEmbed(r io.Reader) (*oEmbed, error) {
	var members map[string]jsontext.Value
	if err := json.UnmarshalRead(io.LimitReader(r, maxOEmbed), &members); err != nil {
		return nil, err
	}
	text := func(name string) (s string) {
		if json.Unmarshal(members[name], &s) != nil {
			return ""
		}
		return s
	}
	return &oEmbed{text("type"), text("title"), text("author_name"), text("provider_name"), text("url"), text("thumbnail_url")}, nil
}

// join adds what the page itself has not said.
func (p *page) join(o *oEmbed) {
	fill := func(name, value string) {
		if _, there := p.properties[name]; !there {
			if value = clean(value); value != "" {
				p.properties[name] = value
			}
		}
	}
	fill("og:title", o.Title)
	fill("og:site_name", o.Provider)
	fill("og:description", o.Author)
	if o.Kind == "photo" {
		fill("og:image", o.URL)
	}
	fill("og:image", o.Thumbnail)
	if o.Kind == "video" {
		fill("og:type", "video.other")
	}
}

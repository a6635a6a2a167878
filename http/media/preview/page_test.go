package preview

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func page1(t testing.TB, contentType, text string) *page {
	t.Helper()
	at, err := url.Parse("https://example.org/dir/page.html?q=1")
	if err != nil {
		t.Fatal(err)
	}
	p, err := parse(strings.NewReader(text), contentType, at)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPages(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		contentType, text string
		want              map[string]string
		picture, oEmbed   string
	}{
		"Open Graph": {
			text: `<html><head><title>no</title><meta property="og:title" content=" A
				title "><meta property="og:description" content="B"><meta property="og:image" content="/a.png">
				<meta property="og:image" content="/b.png"><meta property="og:site_name" content="C &amp; D"><meta name="og:type" content="website">
				<meta property="fb:app" content="x"></head><body>text</body>`,
			want:    map[string]string{"og:title": "A title", "og:description": "B", "og:image": "/a.png", "og:site_name": "C & D", "og:type": "website"},
			picture: "https://example.org/a.png",
		},
		"plain": {
			text:    `<title>A title</title><meta name="Description" content="what it is"><link rel="shortcut icon" href="fav.ico"><body><p>text`,
			want:    map[string]string{"og:title": "A title", "og:description": "what it is"},
			picture: "https://example.org/dir/fav.ico",
		},
		"only text": {
			text: `<body><header>menu</header><script>var a = "<p>no</p>"</script><style>p {}</style><h1>Head <b>line</b></h1><p>Some
				text</p> and <i>more</i><footer>no</footer>`,
			want: map[string]string{"og:title": "Head line", "og:description": "Some text and more"},
		},
		"Twitter": {
			text: `<meta name="twitter:title" content="T"><meta name="twitter:image" content="http://cdn.example/x.jpg"><meta name="twitter:card" content="no">`,
			want: map[string]string{"og:title": "T"}, picture: "http://cdn.example/x.jpg",
		},
		"oEmbed":      {text: `<link rel="alternate" type="application/json+oembed" href="/oembed?u=1">`, want: map[string]string{}, oEmbed: "/oembed?u=1"},
		"base":        {text: `<base href="https://cdn.example/z/"><meta property="og:image" content="p.png">`, want: map[string]string{"og:image": "p.png"}, picture: "https://cdn.example/z/p.png"},
		"bad picture": {text: `<meta property="og:image" content="javascript:alert(1)"><title>x</title>`, want: map[string]string{"og:image": "javascript:alert(1)", "og:title": "x"}},
		"Latin-1":     {contentType: "text/html; charset=iso-8859-1", text: "<title>caf\xe9</title>", want: map[string]string{"og:title": "café"}},
		"declared":    {text: "<meta charset=windows-1252><title>\x80uro</title>", want: map[string]string{"og:title": "€uro"}},
		"broken":      {text: "<title>half", want: map[string]string{"og:title": "half"}},
		"nothing":     {text: "", want: map[string]string{}},
		"controls":    {text: "<title>a\x01b\u0085c</title>", want: map[string]string{"og:title": "a b c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.contentType == "" {
				test.contentType = "text/html; charset=utf-8"
				if name == "declared" {
					test.contentType = "text/html"
				}
			}
			p := page1(t, test.contentType, test.text)
			if diff := cmp.Diff(test.want, p.openGraph()); diff != "" {
				t.Error(diff)
			}
			if p.oEmbed != test.oEmbed {
				t.Errorf("oEmbed at %q", p.oEmbed)
			}
			got := ""
			if u := p.picture(); u != nil {
				got = u.String()
			}
			if got != test.picture {
				t.Errorf("picture at %q", got)
			}
		})
	}
}

func TestBoundsOfPages(t *testing.T) {
	t.Parallel()
	long := page1(t, "text/html", "<title>"+strings.Repeat("wörter ", 1000)+"</title><p>"+strings.Repeat("Text ", 10_000)).openGraph()
	if n := utf8.RuneCountInString(long["og:title"]); n > maxValue || n < maxValue-10 || !strings.HasSuffix(long["og:title"], "…") {
		t.Errorf("a title of %d characters", n)
	}
	if n := utf8.RuneCountInString(long["og:description"]); n > wantedText || n < wantedText-10 {
		t.Errorf("a description of %d characters", n)
	}
	var many strings.Builder
	for i := range 1000 {
		many.WriteString(`<meta property="og:x` + strings.Repeat("y", i%90) + `" content="z">`)
	}
	if got := page1(t, "text/html", many.String()).openGraph(); len(got) > maxProperties {
		t.Errorf("%d properties", len(got))
	}
	if got := page1(t, "text/html", strings.Repeat("<div>", 400_000)+"<title>late</title>").openGraph(); len(got) != 1 {
		t.Errorf("depth: %v", got)
	}
	if got := page1(t, "text/html", strings.Repeat(" ", maxPage)+"<title>late</title>").openGraph(); len(got) != 0 {
		t.Errorf("beyond the bound: %v", got)
	}
}

func TestOEmbed(t *testing.T) {
	t.Parallel()
	p := page1(t, "text/html", `<meta property="og:title" content="mine">`)
	o, err := parseOEmbed(strings.NewReader(`{"type":"video","title":"theirs","author_name":"Ann","provider_name":"Tube","thumbnail_url":"https://t.example/1.jpg","width":1,"html":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	p.join(o)
	want := map[string]string{"og:title": "mine", "og:description": "Ann", "og:site_name": "Tube", "og:image": "https://t.example/1.jpg", "og:type": "video.other"}
	if diff := cmp.Diff(want, p.openGraph()); diff != "" {
		t.Error(diff)
	}
	if o, err := parseOEmbed(strings.NewReader(`{"title":5}`)); err != nil || o.Title != "" {
		t.Errorf("a number for a title: %+v, %v", o, err)
	}
	for _, text := range []string{"", "[]", "{", strings.Repeat(`{"a":`, 1000)} {
		if _, err := parseOEmbed(strings.NewReader(text)); err == nil {
			t.Errorf("%.10s was read", text)
		}
	}
}

func FuzzPage(f *testing.F) {
	f.Add("text/html", `<title>a</title><meta property="og:image" content="x"><base href="//b">`)
	f.Add("text/html; charset=utf-16", "\xff\xfe<\x00")
	f.Fuzz(func(t *testing.T, contentType, text string) {
		p := page1(t, contentType, text)
		for name, value := range p.openGraph() {
			if !utf8.ValidString(value) || utf8.RuneCountInString(value) > maxValue || value == "" {
				t.Errorf("%q: %q", name, value)
			}
		}
		if u := p.picture(); u != nil && u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("picture at %s", u)
		}
	})
}

package words

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestIndex(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                      nil,
		" ?! … ":                nil,
		"Hello, hello WORLD":    {"hello", "world"},
		"it's 42_000 km":        {"it", "s", "42", "000", "km"},
		"Crème BRÛLÉE Ａ１ ﬁn":    {"creme", "brulee", "a1", "fin"},
		"Ёлка йод":              {"елка", "иод"},
		"한국어를 배우다":              {"한국어를", "배우다"},
		"東京都":                   {"東京", "京都", "都"},
		"猫":                     {"猫"},
		"ガギグ":                   {"ガギ", "ギグ", "グ"},
		"Matrixは自由です":           {"matrix", "は自", "自由", "由で", "です", "す"},
		"สวัสดี":                {"สว", "วั", "ัส", "สด", "ดี", "ี"},
		"हिन्दी में":            {"हिन्दी", "में"},
		"a\xffb":                {"a", "b"},
		strings.Repeat("x", 70): {strings.Repeat("x", 64)},
		strings.Repeat("é", 40): {strings.Repeat("e", 40)},
		strings.Repeat("я", 40): {strings.Repeat("я", 32)},
	} {
		if got := Index(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	var long strings.Builder
	for i := range MaxTokens + 10 {
		fmt.Fprintln(&long, i)
	}
	if n := len(Index(long.String())); n != MaxTokens {
		t.Errorf("%d tokens", n)
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query, text string
		found       bool
	}{
		{"hello", "Well, HELLO there", true},
		{"hel wor", "hello world", true},
		{"ello", "hello", false},
		{"hello moon", "hello world", false},
		{"haus", "Häuser", true},
		{"京都", "東京都に住む", true},
		{"東都", "東京都", false},
		{"都", "東京都", true},
		{"東", "東京都", true},
		{"สวัส", "สวัสดี", true},
		{"Matrix自由", "自由なMatrix", true},
	} {
		index := Index(c.text)
		found := true
		for _, token := range Query(c.query, 1) {
			found = found && slices.ContainsFunc(index, token.Matches)
		}
		if found != c.found {
			t.Errorf("%q in %q: %v", c.query, c.text, found)
		}
	}
	if got := Query("a a b", 1); len(got) != 2 {
		t.Errorf("%v", got)
	}
	want := []Token{{"ab", false}, {"abc", true}, {"東", true}}
	if got := Query("ab abc 東", 3); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestHighlights(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, query string
		want        []string
	}{
		{"Hello, hello WORLD of worlds", "hello worl", []string{"Hello", "hello", "WORLD", "worlds"}},
		{"Die Häuser", "haus", []string{"Häuser"}},
		{"私は東京都に住む。東京!", "東京都", []string{"東京都", "東京"}},
		{"東京都", "都", []string{"都"}},
		{"Matrixは自由です", "matrix 自由", []string{"Matrix", "自由"}},
		{"nothing", "else", nil},
		{"", "else", nil},
	} {
		if got := Highlights(c.text, Query(c.query, 1)); !slices.Equal(got, c.want) {
			t.Errorf("%q in %q: %q, want %q", c.query, c.text, got, c.want)
		}
	}
}

// A text is found by every part of it that lies between spaces or within a script without them, and by its beginning.
func TestTextIsFoundByItsParts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-zé]{1,12}|[東京都自由猫]{1,6}|[ก-ฮ]{1,5}|[А-я]{1,7}`), 1, 8).Draw(t, "words")
		index := Index(strings.Join(words, " "))
		word := []rune(words[rapid.IntRange(0, len(words)-1).Draw(t, "which")])
		from := 0
		if unspaced := word[0] > 0xe00; unspaced {
			from = rapid.IntRange(0, len(word)-1).Draw(t, "from")
		}
		part := string(word[from:rapid.IntRange(from+1, len(word)).Draw(t, "to")])
		for _, token := range Query(part, 1) {
			if !slices.ContainsFunc(index, token.Matches) {
				t.Fatalf("%q has no token for %q: %q", words, part, token.Text)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add("Hello 東京都 \xff é")
	f.Fuzz(func(t *testing.T, text string) {
		tokens := Index(text)
		if len(tokens) > MaxTokens {
			t.Errorf("%d tokens", len(tokens))
		}
		for _, token := range tokens {
			if token == "" || len(token) > MaxLength || !utf8.ValidString(token) || strings.ContainsAny(token, " \x00") {
				t.Errorf("%q", token)
			}
		}
		for _, part := range Highlights(text, Query(text, 1)) {
			if part == "" || !strings.Contains(text, part) {
				t.Errorf("%q is highlighted in %q", part, text)
			}
		}
		if len(Query(text, 1)) > MaxQuery {
			t.Error("too many tokens to search for")
		}
	})
}

package glob

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestWord(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, text string
		want          bool
	}{
		{"ex*ple", "An example event.", true},
		{"ex*ple", "exple", true},
		{"ex*ple", "An exciting triple-whammy", true},
		{"ex*ple", "an exampled event", false},
		{"cake", "cake", true},
		{"cake", "CAKE!", true},
		{"cake", "pancake", false},
		{"cake", "cakes", false},
		{"cake", "pancake or cake", true},
		{"cake", "cake_", false},
		{"cake", "über cakeé", true}, // é is no word character
		{"@room", "hello @room: look", true},
		{"@room", "hello@room", true},
		{"@room", "@rooms", false},
		{"c++", "I like C++", true},
		{"?", "a", true},
		{"?", "ab", false},
		{"?", "é", true},
		{"k*", "xk", false},
		{"*", "", true},
		{"", "", true},
		{"straße", "die STRAßE", true},
		{"k", "\u212a", true}, // the sign for Kelvin is k in lower case
	} {
		if got := New(tc.pattern).Word(tc.text); got != tc.want {
			t.Errorf("%q in %q: %v", tc.pattern, tc.text, got)
		}
	}
}

// oracle translates the pattern into a regular expression over text in lower case.
func oracle(pattern string) string {
	var b strings.Builder
	b.WriteString("(?s)")
	for _, r := range lower(pattern) {
		switch r {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return b.String()
}

func TestGlobAgreesWithRegexp(t *testing.T) {
	t.Parallel()
	alphabet := rapid.SampledFrom([]rune("aAbÉé_ -"))
	patterns := rapid.SampledFrom([]rune("aAbÉé_ -*?*?"))
	rapid.Check(t, func(rt *rapid.T) {
		pattern := rapid.StringOfN(patterns, 0, 8, -1).Draw(rt, "pattern")
		text := rapid.StringOfN(alphabet, 0, 12, -1).Draw(rt, "text")
		if rapid.Bool().Draw(rt, "long") {
			filler := strings.Repeat("b", 70)
			pattern, text = filler+pattern, filler+text
		}
		g, folded := New(pattern), lower(text)
		re := regexp.MustCompile(`\A` + strings.Replace(oracle(pattern), "(?s)", "(?s:", 1) + `)\z`)
		if got, want := g.Whole(text), re.MatchString(folded); got != want {
			rt.Fatalf("whole = %v, the regular expression says %v", got, want)
		}
		want := false
		for i := 0; i <= len(folded); i++ {
			for j := i; j <= len(folded); j++ {
				want = want || boundary(folded, i) && boundary(folded, j) && re.MatchString(folded[i:j]) && startsRunes(folded, i, j)
			}
		}
		if got := g.Word(text); got != want {
			rt.Fatalf("word = %v, trying all parts says %v", got, want)
		}
	})
}

// Long literals, which are found by the automaton, are found where short ones would be.
func TestLongLiterals(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("Är*? ", maxSearched)
	for text, want := range map[string]bool{
		long:                                 true,
		"x " + strings.ToUpper(long):         true,
		"xx" + long + "y":                    true, // it starts and ends with characters that are no word's
		long[:len(long)-1] + "_":             false,
		strings.ReplaceAll(long, "*?", "xy"): false,
		long[:len(long)/2]:                   false,
	} {
		if got := Literal(long).Word(text); got != want {
			t.Errorf("in %q: %v", text, got)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringMatching(`[aB -]{30,60}`).Draw(rt, "text")
		literal := rapid.StringMatching(`[aB -]{33,36}`).Draw(rt, "literal")
		if at := rapid.IntRange(0, len(text)).Draw(rt, "at"); rapid.Bool().Draw(rt, "inside") {
			text = text[:at] + literal + text[at:]
		}
		if got, want := Literal(literal).Word(text), containsWord(text, lower(literal)); got != want {
			rt.Fatalf("the automaton says %v, the search %v", got, want)
		}
	})
}

// startsRunes reports whether neither offset is inside a character.
func startsRunes(s string, offsets ...int) bool {
	for _, i := range offsets {
		if i < len(s) && s[i]&0xC0 == 0x80 {
			return false
		}
	}
	return true
}

// The worst that a stranger's text can do to a pattern: each place of it nearly matches.
func BenchmarkHostileText(b *testing.B) {
	for name, c := range map[string]struct{ pattern, text string }{
		"long":    {strings.Repeat("-", longest-1) + "x", strings.Repeat("-", 60_000)},
		"short":   {strings.Repeat("é", maxSearched/2-1) + "x", strings.Repeat("É", 30_000)},
		"with *?": {strings.Repeat("-?", longest/2-2) + "x*y", strings.Repeat("-", 60_000)},
	} {
		b.Run(name, func(b *testing.B) {
			g := New(c.pattern)
			for b.Loop() {
				if g.Word(c.text) {
					b.Fatal("it matched")
				}
			}
		})
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("ex*ple", "An example event.")
	f.Add("a?*b", "a\xffxb")
	f.Add("\x87", "\xbf")
	f.Add(strings.Repeat("a*", 200), strings.Repeat("a", 300))
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > longest {
			return
		}
		g := New(pattern)
		whole, word := g.Whole(text), g.Word(text)
		// Both come from JSON, so bytes that are no characters need only be borne.
		if whole && !word && utf8.ValidString(pattern) && utf8.ValidString(text) {
			t.Fatalf("%q matches %q as a whole, but no part of it", pattern, text)
		}
	})
}

// longest is how long a pattern of a push rule may be, in bytes.
const longest = 1024

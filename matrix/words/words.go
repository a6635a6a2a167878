// Package words takes text apart into the tokens by which it is found: words, folded so that case, width and accents do not
// matter, and for scripts that are written without spaces, pairs of neighbouring characters. What is searched for is taken
// apart in the same way, so that every index finds the same.
package words

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/unicode/rangetable"
)

// The bounds of an index: tokens of one text, and bytes of a token. Words beyond them are cut.
const (
	MaxTokens = 4096
	MaxLength = 64
)

// MaxQuery is how many tokens of what is searched for count.
const MaxQuery = 32

// Token is a part of what is searched for.
type Token struct {
	Text string
	// Prefix says that it stands for all that begin with it.
	Prefix bool
}

// Matches reports whether the token of a text is one that is searched for.
func (t Token) Matches(token string) bool {
	return token == t.Text || t.Prefix && strings.HasPrefix(token, t.Text)
}

// Index gives the distinct tokens of a text, in the order in which they first occur.
func Index(text string) []string {
	var tokens []string
	seen := map[string]bool{}
	add := func(token string) {
		if !seen[token] && len(tokens) < MaxTokens {
			seen[token] = true
			tokens = append(tokens, token)
		}
	}
	split(text, func(word string, unspaced bool) {
		if !unspaced {
			add(cut(word))
			return
		}
		// Each character begins a token, so that single ones are found too.
		pairs(word, add)
		_, last := utf8.DecodeLastRuneInString(word)
		add(word[len(word)-last:])
	})
	return tokens
}

// Query gives the distinct tokens that a text must all have to be found by another text. Words match what begins with them if
// they have at least so many characters; shorter ones only themselves.
func Query(text string, shortest int) []Token {
	var tokens []Token
	add := func(t Token) {
		for _, have := range tokens {
			if have == t {
				return
			}
		}
		if len(tokens) < MaxQuery {
			tokens = append(tokens, t)
		}
	}
	split(text, func(word string, unspaced bool) {
		n := utf8.RuneCountInString(word)
		if !unspaced || n == 1 {
			add(Token{cut(word), unspaced || n >= shortest})
			return
		}
		pairs(word, func(pair string) { add(Token{Text: pair}) })
	})
	return tokens
}

// Highlights gives the distinct parts of a text, as they stand there, because of which it is found.
func Highlights(text string, query []Token) []string {
	var parts []string
	add := func(part string) {
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	runs(text, func(run string, unspaced bool) {
		if unspaced {
			stretches(run, query, add)
			return
		}
		if slices.ContainsFunc(Index(run), func(token string) bool {
			return slices.ContainsFunc(query, func(t Token) bool { return t.Matches(token) })
		}) {
			add(run)
		}
	})
	return parts
}

// stretches gives the longest parts of a run without spaces in which every character, or pair, is searched for.
func stretches(run string, query []Token, add func(string)) {
	var at []int // where the characters begin, and the end
	for i := range run {
		at = append(at, i)
	}
	at = append(at, len(run))
	wanted := func(from, to int) bool {
		folded := fold(run[at[from]:at[to]])
		return slices.ContainsFunc(query, func(t Token) bool { return t.Text == folded })
	}
	found := make([]bool, len(at))
	for i := range len(at) - 1 {
		found[i] = found[i] || wanted(i, i+1)
		if i+2 < len(at) && wanted(i, i+2) {
			found[i], found[i+1] = true, true
		}
	}
	begin := -1
	for i, is := range found { // the last, at the end of the run, is never found
		switch {
		case is && begin < 0:
			begin = i
		case !is && begin >= 0:
			add(run[at[begin]:at[i]])
			begin = -1
		}
	}
}

// pairs gives each two neighbouring characters.
func pairs(word string, add func(string)) {
	previous := -1
	for i, r := range word {
		if previous >= 0 {
			add(word[previous : i+utf8.RuneLen(r)])
		}
		previous = i
	}
}

// cut bounds a word.
func cut(word string) string {
	if len(word) <= MaxLength {
		return word
	}
	word = word[:MaxLength]
	for !utf8.ValidString(word) {
		word = word[:len(word)-1]
	}
	return word
}

// split calls yield with each run of letters, digits and marks of the folded text; unspaced says that it is of a script that is
// written without spaces between words.
func split(text string, yield func(word string, unspaced bool)) {
	runs(fold(text), yield)
}

// runs is split of text as it stands.
func runs(text string, yield func(run string, unspaced bool)) {
	begin, unspaced := -1, false
	end := func(i int) {
		if begin >= 0 {
			yield(text[begin:i], unspaced)
			begin = -1
		}
	}
	for i, r := range text {
		word, mark, without := kind(r)
		switch {
		case !word:
			end(i)
			continue
		case begin >= 0 && !mark && without != unspaced:
			end(i)
		}
		if begin < 0 {
			begin, unspaced = i, without
		}
	}
	end(len(text))
}

// kind says of a character whether it is part of words, whether it is a mark on the one before it, and whether its script is
// written without spaces. Most texts are ASCII, and every message is taken apart.
func kind(r rune) (word, mark, unspaced bool) {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9', false, false
	}
	mark = unicode.IsMark(r)
	return mark || unicode.IsLetter(r) || unicode.IsNumber(r), mark, unicode.Is(scriptsWithoutSpaces, r)
}

var scriptsWithoutSpaces = rangetable.Merge(unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo, unicode.Yi,
	unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan)

// fold makes the forms of a character one: compatible forms, capitals, and letters with the accents of European scripts.
func fold(text string) string {
	if ascii(text) {
		return strings.ToLower(text)
	}
	decomposed := norm.NFKD.String(strings.ToValidUTF8(text, " "))
	plain := strings.Map(func(r rune) rune {
		if r >= 0x300 && r <= 0x36f {
			return -1
		}
		return unicode.ToLower(r)
	}, decomposed)
	return norm.NFC.String(plain)
}

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

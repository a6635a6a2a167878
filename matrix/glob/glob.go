// Package glob matches text against patterns with * and ? (appendices, "Glob-style matching"), in time that no pattern can make long.
package glob

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Glob matches text against a glob-style pattern (appendices, "Glob-style matching"), regardless of case: characters are
// compared after unicode.ToLower.
//
// Patterns without * and ? are compared directly, which is fast, but looking for a long one at each place of a long text need not be. Others run as
// an automaton whose states are the numbers of pattern characters consumed so far, kept as a set of bits, so that the time is the
// length of the text times the number of 64-bit words that the pattern needs, whatever the two hold.
type Glob struct {
	literal string // in lower case; only when wild is false
	wild    bool

	words  int          // of a set of states; 0 without an automaton
	final  int          // the state in which all is consumed
	stars  []uint64     // the states that may consume any character and stay
	leads  [][]uint64   // the states that characters lead into; the first is for characters that the pattern does not hold
	ascii  [128]int16   // indexes of leads, by character
	others map[rune]int // the same beyond ASCII
}

// maxSearched is the length in bytes up to which literals are looked for directly.
const maxSearched = 16

// New makes the glob of a pattern.
func New(pattern string) *Glob {
	if !strings.ContainsAny(pattern, "*?") {
		return Literal(pattern)
	}
	g := &Glob{wild: true}
	g.automaton(pattern, true)
	return g
}

// Literal makes the glob in which * and ? stand for themselves.
func Literal(text string) *Glob {
	g := &Glob{literal: lower(text)}
	if len(g.literal) > maxSearched {
		g.automaton(g.literal, false)
	}
	return g
}

// automaton prepares run; without wildcards * and ? are characters like others.
func (g *Glob) automaton(pattern string, wildcards bool) {
	g.final = utf8.RuneCountInString(pattern)
	if wildcards {
		g.final -= strings.Count(pattern, "*")
	}
	g.words = g.final/64 + 1
	g.stars, g.leads, g.others = g.set(), [][]uint64{g.set()}, map[rune]int{}
	state := 0
	for _, r := range pattern {
		if wildcards && r == '*' {
			add(g.stars, state)
			continue
		}
		state++
		if wildcards && r == '?' {
			add(g.leads[0], state)
		} else {
			add(g.lead(fold(r)), state)
		}
	}
	for _, lead := range g.leads[1:] {
		for i := range lead {
			lead[i] |= g.leads[0][i]
		}
	}
}

// lead gives the set for a character of the pattern, making it when needed.
func (g *Glob) lead(r rune) []uint64 {
	i := g.index(r)
	if i == 0 {
		i = len(g.leads)
		g.leads = append(g.leads, g.set())
		if r < utf8.RuneSelf {
			g.ascii[r] = int16(i)
		} else {
			g.others[r] = i
		}
	}
	return g.leads[i]
}

// index finds the set for a folded character, 0 for those that the pattern does not hold.
func (g *Glob) index(r rune) int {
	if r < utf8.RuneSelf {
		return int(g.ascii[r])
	}
	return g.others[r]
}

func (g *Glob) set() []uint64 { return make([]uint64, g.words) }

func add(set []uint64, state int) { set[state/64] |= 1 << (state % 64) }

func has(set []uint64, state int) bool { return set[state/64]&(1<<(state%64)) != 0 }

// Whole reports whether the pattern matches the whole text.
func (g *Glob) Whole(text string) bool {
	if !g.wild {
		n, ok := foldPrefix(text, g.literal)
		return ok && n == len(text)
	}
	return g.run(text, false)
}

// Word reports whether the pattern matches a part of the text that starts and ends at word boundaries.
func (g *Glob) Word(text string) bool {
	if g.words == 0 {
		return containsWord(text, g.literal)
	}
	return g.run(text, true)
}

// run feeds the text to the automaton. With words a match may start and end at any boundary, else only at the ends of the text.
func (g *Glob) run(text string, words bool) bool {
	var fixed [4]uint64
	states := fixed[:]
	if g.words > len(fixed) {
		states = make([]uint64, g.words)
	}
	states = states[:g.words]
	add(states, 0)
	if words && has(states, g.final) {
		return true
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		g.step(states, fold(r))
		if !words || !boundary(text, i) {
			continue
		}
		if has(states, g.final) {
			return true
		}
		add(states, 0)
	}
	return has(states, g.final)
}

// step consumes one folded character.
func (g *Glob) step(states []uint64, r rune) {
	into := g.leads[g.index(r)]
	carry := uint64(0)
	for i, s := range states {
		states[i] = (s<<1|carry)&into[i] | s&g.stars[i]
		carry = s >> 63
	}
}

// containsWord reports whether the text contains the literal, which is in lower case, between word boundaries.
func containsWord(text, literal string) bool {
	if literal == "" {
		return true // between the boundary at the start and itself
	}
	first := literal[0]
	for i := range len(text) {
		b := text[i]
		if b < utf8.RuneSelf && foldASCII(b) != first || !utf8.RuneStart(b) || !boundary(text, i) {
			continue
		}
		if n, ok := foldPrefix(text[i:], literal); ok && boundary(text, i+n) {
			return true
		}
	}
	return false
}

// foldPrefix reports whether the text begins with the literal, which is in lower case, and how many bytes of text that takes.
func foldPrefix(text, literal string) (n int, ok bool) {
	for i := 0; i < len(literal); {
		if n >= len(text) {
			return 0, false
		}
		t, l := text[n], literal[i]
		if t < utf8.RuneSelf && l < utf8.RuneSelf {
			if foldASCII(t) != l {
				return 0, false
			}
			n++
			i++
			continue
		}
		want, size := utf8.DecodeRuneInString(literal[i:])
		i += size
		got, size := utf8.DecodeRuneInString(text[n:])
		if fold(got) != want {
			return 0, false
		}
		n += size
	}
	return n, true
}

// boundary reports whether a word can start or end at the offset: everywhere but between two word characters. So an @ that follows a letter
// starts a match of "@room", though the letter is no boundary itself; other homeservers read the specification so too.
func boundary(text string, at int) bool {
	return at <= 0 || at >= len(text) || !wordByte(text[at-1]) || !wordByte(text[at])
}

// wordByte reports whether the byte is one of the characters of words; bytes of characters beyond ASCII are not.
func wordByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_'
}

func foldASCII(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + ('a' - 'A')
	}
	return b
}

func fold(r rune) rune {
	if r < utf8.RuneSelf {
		return rune(foldASCII(byte(r)))
	}
	return unicode.ToLower(r)
}

// lower folds a text.
func lower(s string) string { return strings.Map(fold, s) }

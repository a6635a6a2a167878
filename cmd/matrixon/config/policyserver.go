package config

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/matrixon/matrixon/matrix/glob"
	"github.com/matrixon/matrixon/matrix/verdict"
)

// The bounds of a policy server's rules, which hold for every event of many rooms.
const (
	mostBlocked      = 10_000
	mostPatterns     = 200
	longestPattern   = 1000 // bytes
	largestNewcoming = 365 * 24 * time.Hour
)

func (b *binder) policyServer() {
	p := b.config.PolicyServer
	for _, of := range []struct {
		name string
		list []string
	}{{"blocked_users", p.BlockedUsers}, {"blocked_servers", p.BlockedServers}, {"blocked_types", p.BlockedTypes}, {"newcomers.blocked_types", p.Newcomers.BlockedTypes}} {
		if len(of.list) > mostBlocked {
			b.reject("policy_server."+of.name, "%d are too many; at most %d can be named", len(of.list), mostBlocked)
		}
		for i, text := range of.list {
			if text == "" || len(text) > 255 {
				b.reject(fmt.Sprintf("policy_server.%s.%d", of.name, i), "%.300q is not between 1 and 255 bytes", text)
			}
		}
	}
	if len(p.BlockedText) > mostPatterns {
		b.reject("policy_server.blocked_text", "%d are too many; at most %d can be given", len(p.BlockedText), mostPatterns)
	}
	for i, text := range p.BlockedText {
		_, err := pattern(text)
		b.check(fmt.Sprintf("policy_server.blocked_text.%d", i), err)
	}
	b.between("policy_server.max_mentions", int64(p.MaxMentions), 0, 1000)
	b.rate("policy_server.rate", p.Rate)
	if t := time.Duration(p.Newcomers.Time); t < 0 || t > largestNewcoming {
		b.reject("policy_server.newcomers.time", "%s is not between 0 and %s", p.Newcomers.Time, Duration(largestNewcoming))
	}
}

func pattern(text string) (*regexp.Regexp, error) {
	if len(text) > longestPattern {
		return nil, fmt.Errorf("a pattern of %d bytes is too long; it can have %d", len(text), longestPattern)
	}
	re, err := regexp.Compile(text)
	if err == nil && re.MatchString("") {
		err = errors.New("the pattern matches every text")
	}
	return re, err
}

// Rules are the rules, made ready.
func (p *PolicyServer) Rules() (*verdict.Rules, error) {
	r := &verdict.Rules{ExemptPower: int64(p.ExemptPower), Types: p.BlockedTypes, MaxText: int(p.MaxText), MaxMentions: p.MaxMentions,
		NewcomerMS: time.Duration(p.Newcomers.Time).Milliseconds(), NewTypes: p.Newcomers.BlockedTypes}
	for _, text := range p.BlockedUsers {
		r.Users = append(r.Users, glob.New(text))
	}
	for _, text := range p.BlockedServers {
		r.Servers = append(r.Servers, glob.New(text))
	}
	for _, text := range p.BlockedText {
		re, err := pattern(text)
		if err != nil {
			return nil, fmt.Errorf("policy_server.blocked_text: %w", err)
		}
		r.Text = append(r.Text, re)
	}
	return r, nil
}

package pgreplay

import "testing"

func TestErrorsOfTheMomentAreNotKept(t *testing.T) {
	message := func(code string) []byte {
		body := "SERROR\x00C" + code + "\x00Mno\x00\x00"
		return message{failure, []byte(body)}.append(message{ready, []byte("I")}.append(nil))
	}
	for code, want := range map[string]bool{"57014": true, "55P03": true, "53300": true, "40001": true, "42601": false, "55000": false} {
		if passing(message(code)) != want {
			t.Errorf("%s: %v", code, !want)
		}
	}
}

package postgres

// literal reads the text of arrays, composites, ranges and the like, as
// PostgreSQL's output functions print them.
type literal struct {
	rest []byte // what is left to read
	buf  []byte // the last part, where escapes had to be taken out of it
}

// peek is the next byte, 0 at the end.
func (s *literal) peek() byte {
	if len(s.rest) == 0 {
		return 0
	}
	return s.rest[0]
}

// take skips ch, if it is next.
func (s *literal) take(ch byte) bool {
	if len(s.rest) == 0 || s.rest[0] != ch {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// word skips w, if it is next.
func (s *literal) word(w string) bool {
	if len(s.rest) < len(w) || string(s.rest[:len(w)]) != w {
		return false
	}
	s.rest = s.rest[len(w):]
	return true
}

// until gives what stands before the next of two bytes, which may be nothing.
func (s *literal) until(a, b byte) []byte {
	i := 0
	for i < len(s.rest) && s.rest[i] != a && s.rest[i] != b {
		i++
	}
	v := s.rest[:i]
	s.rest = s.rest[i:]
	return v
}

// element reads an element of an array: in quotes, with backslashes before
// quotes and backslashes, or bare up to the delimiter or the end. It is valid
// until the next call.
func (s *literal) element(delim byte) (v []byte, quoted bool, err error) {
	if s.peek() == '"' {
		v, err = s.quoted()
		return v, true, err
	}
	if v = s.until(delim, '}'); len(v) == 0 {
		return nil, false, errFormat
	}
	return v, false, nil
}

// quoted reads a string in quotes whose quotes and backslashes have a
// backslash before them.
func (s *literal) quoted() ([]byte, error) {
	if !s.take('"') {
		return nil, errFormat
	}
	plain := 0
	for plain < len(s.rest) && s.rest[plain] != '"' && s.rest[plain] != '\\' {
		plain++
	}
	if plain < len(s.rest) && s.rest[plain] == '"' { // nothing to take out
		v := s.rest[:plain]
		s.rest = s.rest[plain+1:]
		return v, nil
	}
	s.buf = s.buf[:0]
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '"':
			s.rest = s.rest[i+1:]
			return s.buf, nil
		case '\\':
			if i++; i == len(s.rest) {
				return nil, errFormat
			}
		}
		s.buf = append(s.buf, s.rest[i])
	}
	return nil, errFormat
}

// part reads a field of a composite or a bound of a range, up to the comma or
// the byte that may close the value: ')', and for ranges ']' too. In quotes
// quotes and backslashes are doubled. It is valid until the next call.
func (s *literal) part(shut byte) (v []byte, quoted bool, err error) {
	if s.peek() == '"' {
		v, err = s.doubled()
		return v, true, err
	}
	for i, ch := range s.rest {
		switch ch {
		case ',', ')', shut:
			v, s.rest = s.rest[:i], s.rest[i:]
			return v, false, nil
		case '"', '\\', '(':
			return nil, false, errFormat
		}
	}
	return nil, false, errFormat
}

func (s *literal) doubled() ([]byte, error) {
	s.buf = s.buf[:0]
	for i := 1; i < len(s.rest); i++ {
		ch := s.rest[i]
		if ch == '"' || ch == '\\' {
			twice := i+1 < len(s.rest) && s.rest[i+1] == ch
			switch {
			case twice:
				i++
			case ch == '"':
				s.rest = s.rest[i+1:]
				return s.buf, nil
			default:
				return nil, errFormat
			}
		}
		s.buf = append(s.buf, ch)
	}
	return nil, errFormat
}

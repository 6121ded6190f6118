package postgres

import "context"

// limitedPiece is the largest piece that the rate of copies is counted by.
const limitedPiece = 64 << 10

// limited makes sink take its data no faster than Config.CopyRate allows,
// which holds up the server. All reads share the rate.
func (s *Source) limited(ctx context.Context, sink func([]byte) error) func([]byte) error {
	if s.limiter == nil {
		return sink
	}
	return func(data []byte) error {
		for left := len(data); left > 0; {
			n := min(left, s.limiter.Burst())
			if err := s.limiter.WaitN(ctx, n); err != nil {
				return err
			}
			left -= n
		}
		return sink(data)
	}
}

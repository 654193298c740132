-- Each request brings somebody new; one in ten is somebody of before.
local kinds = { "Website newsletter", "webinar", "Fair 2026", "Sign-up form" }
local n = 0
local thread = 0
setup = function(t) t:set("thread", thread); thread = thread + 1 end
wrk.method = "POST"
request = function()
  n = n + 1
  local who = n % 10 == 0 and n - 7 or n
  local body = string.format(
    '{"email":"p%d-%d-%s@example.com","name":"Ada Lovelace","phone":"+442079460018","source":"%s","city":"London"}',
    thread, who, os.getenv("RUN"), kinds[n % 4 + 1])
  return wrk.format(nil, nil, nil, body)
end
done = function(summary, latency, _)
  local errors = summary.errors
  io.write(string.format("requests=%d seconds=%.3f p99_ms=%.2f wrong=%d lost=%d\n", summary.requests,
    summary.duration / 1e6, latency:percentile(99) / 1e3, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end

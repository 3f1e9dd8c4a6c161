-- What wrk sends: a method over a file of paths, in order and over again, with a body if there is one.
-- wrk … -s load.lua URL -- METHOD PATHS [BODY]
-- `%d` in BODY becomes the number of the request.
-- One thread and one connection: bench/load.py starts as many as there are clients.

local paths, issued = {}, 0
local method, body

function init(args)
   method = args[1]
   for line in io.lines(args[2]) do paths[#paths + 1] = line end
   body = args[3]
end

function request()
   issued = issued + 1
   local path = paths[(issued - 1) % #paths + 1]
   if body then return wrk.format(method, path, nil, (body:gsub("%%d", issued))) end
   return wrk.format(method, path)
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '\nRESULT {"microseconds": %d, "requests": %d, "p50": %d, "p99": %d, "slowest": %d, "socket": %d, "status": %d}\n',
      summary.duration, summary.requests, latency:percentile(50), latency:percentile(99), latency.max,
      e.connect + e.read + e.write + e.timeout, e.status))
end

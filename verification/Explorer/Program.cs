using System.Diagnostics;
using Explorer.Faults;
using Explorer.Machines;
using Explorer.Scenarios;
using Explorer.Scheduling;

var alloc = args.Length > 3 ? new AllocListener() : null;
int n = int.Parse(args[0]);
ConcurrentScenario scenario = ConcurrentScenario.Find(args[1])!;
string mode = args.Length > 2 ? args[2] : "run";
var sw = Stopwatch.StartNew();
var cpu = Process.GetCurrentProcess().TotalProcessorTime;
double prep = 0, run = 0, fin = 0;
var r = Controlled.Explore(new(Strategy.Random, 1, n), a =>
{
    long t0 = Stopwatch.GetTimestamp();
    Prepared p;
    p = null!; Controlled.Outside(() => p = scenario.Prepare(a, PlantedFault.None, 0));
    long t1 = Stopwatch.GetTimestamp();
    if (mode == "run") p.Machine.Run();
    long t2 = Stopwatch.GetTimestamp();
    if (mode == "run") Controlled.Outside(p.Finish);
    long t3 = Stopwatch.GetTimestamp();
    prep += Stopwatch.GetElapsedTime(t0, t1).TotalMilliseconds; run += Stopwatch.GetElapsedTime(t1, t2).TotalMilliseconds; fin += Stopwatch.GetElapsedTime(t2, t3).TotalMilliseconds;
});
Console.WriteLine($"{r.Schedules / sw.Elapsed.TotalSeconds:0}/s wall={sw.Elapsed.TotalMilliseconds/n:0.00}ms cpu={(Process.GetCurrentProcess().TotalProcessorTime-cpu).TotalMilliseconds/n:0.00}ms prep={prep/n:0.00} run={run/n:0.00} fin={fin/n:0.00} steps={r.Steps/n} gc0={GC.CollectionCount(0)} gc2={GC.CollectionCount(2)} pause={GC.GetTotalPauseDuration().TotalMilliseconds/n:0.00}ms alloc={GC.GetTotalAllocatedBytes()/n/1024}K");
foreach (var p in AllocListener.Counts.OrderByDescending(p => p.Value).Take(25)) Console.WriteLine($"{p.Value/1024/n,8}K {p.Key}");

using System.Diagnostics;
using Explorer.Faults;
using Explorer.Scenarios;
using Explorer.Scheduling;

int n = args.Length > 0 ? int.Parse(args[0]) : 200;
string only = args.Length > 1 ? args[1] : "";
foreach (ConcurrentScenario scenario in ConcurrentScenario.All)
foreach (PlantedFault fault in PlantedFault.All.Where(f => f.Scenario == scenario.Name).Prepend(PlantedFault.None))
foreach (Strategy s in Enum.GetValues<Strategy>())
{
    if (only.Length > 0 && only != scenario.Name && only != fault.Name) continue;
    var reached = new Dictionary<string,int>();
    var sw = Stopwatch.StartNew();
    var r = Controlled.Explore(new(s, 1, n), a => scenario.Run(a, fault), a => { foreach (var k in a.Reached.Keys) reached[k] = reached.GetValueOrDefault(k) + 1; });
    Console.WriteLine($"{scenario.Name} {fault.Name} {s} schedules={r.Schedules} steps={r.Steps/(double)r.Schedules:0} {r.Schedules / sw.Elapsed.TotalSeconds:0}/s {r.Failure?.Kind} {r.Failure?.Message.Substring(0, Math.Min(400, r.Failure.Message.Length))} unc={string.Join(",", r.Uncontrolled)}");
    if (fault == PlantedFault.None) Console.WriteLine("    " + string.Join(", ", reached.Select(p => $"{p.Key}={p.Value}")));
}
return 0;

using System.Diagnostics;
using System.Reflection;
using Explorer.Scheduling;
using Explorer.Worker;
using Harness;
using Harness.Schedules;

// The worker: started from the folder of rewritten assemblies, says on standard output one message a line, and ends when it has
// nothing left to do or standard input is closed.
const int Clean = 0;
const int WrongUsage = 2;
const int Unsound = 3;
const string WholeOption = "--all";
const string PageOption = "--page";

Stream output = Console.OpenStandardOutput();
void Say(WorkerMessage message)
{
    output.Write(System.Text.Encoding.UTF8.GetBytes(message.ToLine() + "\n"));
    output.Flush();
}

static void RunOn(int processor)
{
    if (OperatingSystem.IsLinux() || OperatingSystem.IsWindows()) Process.GetCurrentProcess().ProcessorAffinity = (nint)(1L << processor);
}

// A part of the build: the rewritten assemblies are not there yet.
if (args is ["fit-gates", string folder, .. string[] names])
{
    GateFitter.Fit(folder, names);
    return Clean;
}

Assembly[] underControl =
    [typeof(Platform.Ram).Assembly, typeof(Vcmm.VcmManager).Assembly, typeof(IommuSim.VtdTables).Assembly, typeof(Controlled).Assembly];
if (Array.Find(underControl, assembly => !Controlled.IsRewritten(assembly)) is { } original)
{
    Say(new UnsoundMessage($"{original.GetName().Name}.dll is not rewritten for controlled schedules; run the worker from the folder controlled/"));
    return Unsound;
}

try
{
    if (args is ["replay", string path, .. string[] options] && options.All(static option => option is WholeOption or PageOption))
    {
        new ScheduleWorker(Say, static () => false).Replay(path, options.Contains(WholeOption), options.Contains(PageOption));
        return Clean;
    }

    if (args is ["list"])
    {
        new ScheduleWorker(Say, static () => false).List();
        return Clean;
    }

    if (args is ["measure", string what, string on] && int.TryParse(on, out int number))
    {
        RunOn(number);
        Measurement.Run(what, Console.In, Say);
        return Clean;
    }

    if (args is not ["explore", ..]) throw new BadInputException($"the command is \"{args.FirstOrDefault()}\"; expected {WorkerOptions.Usage}");
    WorkerOptions asked = WorkerOptions.Parse(args.AsSpan(1));
    if (asked.Processor is { } processor) RunOn(processor);
    var worker = new ScheduleWorker(Say, StandardInput.WatchForEnd());
    if (asked.Preemptions is { } preemptions) worker.Exhaust(asked, preemptions);
    else worker.Explore(asked);
    return Clean;
}
catch (BadInputException e)
{
    Say(new RefusedMessage(e.Message));
    return WrongUsage;
}
catch (UnsoundException e)
{
    Say(new UnsoundMessage(e.Message));
    return Unsound;
}

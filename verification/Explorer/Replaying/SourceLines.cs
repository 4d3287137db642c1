using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using Microsoft.Coyote.Rewriting;

namespace Explorer.Replaying;

/// <summary>Which statement makes a step: the innermost one of the library, of the simulator, or of a scenario or a planted fault.</summary>
/// <remarks>
/// The rewritten assemblies come with symbols. A method that was compiled into its caller stands at the caller's line, so a worker that replays is started
/// with methods compiled each for itself.
/// </remarks>
[SkipRewriting("Looking on must not add steps to the schedule.")]
internal static class SourceLines
{
    private static readonly Assembly[] Rooms = [typeof(Vcmm.VcmManager).Assembly, typeof(IommuSim.VtdTables).Assembly];
    private static readonly string[] Parts = ["Explorer.Scenarios", "Explorer.Faults"];

    /// <summary>File and line, as <c>PageTable.cs:120</c>; null if no such statement is on the stack, or it has no symbols.</summary>
    public static string? OfCaller()
    {
        foreach (StackFrame frame in new StackTrace(1, fNeedFileInfo: true).GetFrames())
        {
            if (frame.GetMethod()?.DeclaringType is not { } type || !(Rooms.Contains(type.Assembly) || Parts.Contains(Namespace(type)))) continue;
            if (frame.GetFileName() is { } file && frame.GetFileLineNumber() is > 0 and var line)
                return string.Create(CultureInfo.InvariantCulture, $"{file[(file.LastIndexOfAny(['/', '\\']) + 1)..]}:{line}");
        }

        return null;
    }

    private static string? Namespace(Type type) => (type.DeclaringType ?? type).Namespace;
}

using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace House;

/// <summary>
/// Has these tests give way to those of the controlled schedules, which keep to one processor, run beside them, and take the longest.
/// </summary>
internal static class GivesWay
{
    private const int OfThread = 0;
    private const int Nice = 10;

    /// <summary>Linux has a priority for each thread, and a thread has that of the one that started it: so all that are there are lowered.</summary>
    [ModuleInitializer]
    internal static void Lower()
    {
        if (!OperatingSystem.IsLinux()) return;
        foreach (string thread in Directory.EnumerateDirectories("/proc/self/task"))
        {
            // Of a thread that has ended meanwhile it says so, and there is nothing to lower.
            _ = SetPriority(OfThread, uint.Parse(Path.GetFileName(thread), CultureInfo.InvariantCulture), Nice);
        }
    }

    [DllImport("libc", EntryPoint = "setpriority")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static extern int SetPriority(int which, uint who, int value);
}

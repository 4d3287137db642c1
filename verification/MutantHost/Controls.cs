using System.Reflection;

namespace MutantHost;

/// <summary>The class that Stryker.NET puts into each assembly it mutates, in a namespace that has another name in each run.</summary>
internal static class Controls
{
    private static readonly string[] Foreign = ["FSharp", "FsCheck", "Microsoft", "System", "xunit"];

    /// <summary>Those of all assemblies that tests refer to, directly or not. None of their code runs yet.</summary>
    public static List<Type> Of(Assembly tests)
    {
        List<Assembly> all = [tests];
        for (int at = 0; at < all.Count; at++)
        {
            foreach (AssemblyName name in all[at].GetReferencedAssemblies().Where(IsOurs))
            {
                var referred = Assembly.Load(name);
                if (!all.Contains(referred)) all.Add(referred);
            }
        }

        return [.. all.SelectMany(static assembly => assembly.GetTypes()).Where(static type => type.Name == "MutantControl" && type.Namespace?.StartsWith("Stryker", StringComparison.Ordinal) == true)];
    }

    private static bool IsOurs(AssemblyName assembly) =>
        !Array.Exists(Foreign, name => assembly.Name!.StartsWith(name, StringComparison.Ordinal)) && File.Exists(Path.Combine(AppContext.BaseDirectory, $"{assembly.Name}.dll"));
}

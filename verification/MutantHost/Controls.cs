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
            foreach (AssemblyName name in all[at].GetReferencedAssemblies().Where(static name => IsOurs(name.Name!) && File.Exists(Path.Combine(AppContext.BaseDirectory, $"{name.Name}.dll"))))
            {
                var referred = Assembly.Load(name);
                if (!all.Contains(referred)) all.Add(referred);
            }
        }

        return [.. all.SelectMany(static assembly => assembly.GetTypes()).Where(static type => IsOne(type.Name, type.Namespace))];
    }

    /// <summary>Whether a type of that name in that namespace is one.</summary>
    public static bool IsOne(string name, string? space) => name == "MutantControl" && space?.StartsWith("Stryker", StringComparison.Ordinal) == true;

    /// <summary>Whether an assembly of that name may be mutated.</summary>
    public static bool IsOurs(string assembly) => !Array.Exists(Foreign, name => assembly.StartsWith(name, StringComparison.Ordinal));
}
